"""Reads values between tags, where strings have no quotes, and forces them with grammars."""

import json
from collections.abc import Mapping
from typing import Any

from frontend.parsing.calls import Call
from frontend.parsing.schema_types import as_json


class TaggedValues:
    """Writes the arguments of a call while its parameters are read, each as text."""

    def __init__(self, call: Call, schema: dict[str, Any] | None) -> None:
        self._call = call
        self._schema = schema
        properties = schema.get("properties") if schema is not None else None
        self._properties = properties if isinstance(properties, Mapping) else {}
        self._seen: set[str] = set()

    def add(self, name: str, text: str, is_string: bool | None = None) -> bool:
        """Write a parameter, unless there is one of this name. `is_string` if the model states it."""
        if not name or name in self._seen:
            return False
        value = (
            json.dumps(text, ensure_ascii=False)
            if is_string
            else as_json(text, self._properties.get(name), self._schema)
        )
        before = ", " if self._seen else "{"
        self._seen.add(name)
        self._call.write(f"{before}{json.dumps(name, ensure_ascii=False)}: {value}")
        return True

    def end(self) -> None:
        if self._seen:
            self._call.write("}")
