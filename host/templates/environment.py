"""What chat templates are rendered with: Jinja as Hugging Face sets it up, and the expected helpers."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MUTATORS = frozenset({"append", "extend", "insert", "pop", "update"})


class RaisedByTemplate(TemplateError):
    """The template called raise_exception: its author's words for the client."""


class Given(list[Any]):
    """A list that templates may read only."""


class _GenerationBlock(Extension):
    """{% generation %} marks the assistant's part for training; here its body is simply shown."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Some templates collect what they need in lists of their own (Kimi K2)."""
        if type(obj) in (list, dict) and attr in _MUTATORS:
            return True
        return super().is_safe_attribute(obj, attr, value)


def environment() -> ImmutableSandboxedEnvironment:
    made = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _GenerationBlock],
        finalize=_shown,
    )
    made.filters["tojson"] = _to_json
    helpers: dict[str, Callable[..., object]] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
    }
    made.globals.update(helpers)
    return made


def _shown(value: object) -> object:
    """A content of None renders as nothing, not as the word None."""
    return "" if value is None else value


def _raise_exception(message: str) -> None:
    raise RaisedByTemplate(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)  # local time, as the templates' authors expect


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which would reach the model."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )


def _listed(value: object) -> list[object]:
    """What filters such as `map` return."""
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
