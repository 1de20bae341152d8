"""Arguments that a model writes as text between tags, where strings have no quotes."""

from typing import Any

from frontend.parsing.schema_types import allowed_types, argument_schemas
from frontend.structured.automaton import TooComplex
from frontend.structured.errors import reject
from frontend.structured.unquoted import Form, forms


def unquoted_arguments(root: dict[str, Any], end: str) -> list[Form]:
    """The forms that arguments of this object schema may have, such that `as_json` reads valid values.

    Every value is followed by the literal `end`, which contains a closing tag. Raises ConstraintError.
    """
    schemas = argument_schemas(root)
    try:
        return forms(root, lambda name: allowed_types(schemas.get(name), root), end)
    except TooComplex:
        reject("", "the schema is too complex: its grammar would be too large")
