"""What a field may be, where msgspec only says that its value is none of the allowed ones."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.?([^.\[\]]+)")

Steps = tuple[str | None, ...]  # the names of fields, and None for an item of a list or a mapping


def allowed_values(kind: Any, path: str) -> tuple[str, ...]:
    """The allowed values at a path of msgspec's such as `messages[0].role`, in a value of the type `kind`.

    Of alternatives that differ in them, those of all. Empty where the types do not say.
    """
    return _allowed(kind, tuple(name or None for _, name in _STEP.findall(path)))


@lru_cache(maxsize=256)  # clients choose the numbers of items, but not these steps
def _allowed(kind: Any, steps: Steps) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_shown, _values(inspect.type_info(kind), steps))))


def _values(node: inspect.Type, steps: Steps) -> Iterator[Any]:
    if not steps:
        yield from _choices(node)
        return
    match node:
        case inspect.StructType():
            if steps == (node.tag_field,):
                yield node.tag
            for field in node.fields:
                if field.encode_name == steps[0]:
                    yield from _values(field.type, steps[1:])
        case inspect.DictType():
            yield from _values(node.value_type, steps[1:])
        case inspect.CollectionType():
            yield from _values(node.item_type, steps[1:])
        case _:
            for member in _alternatives(node):
                yield from _values(member, steps)


def _choices(node: inspect.Type) -> Iterator[Any]:
    match node:
        case inspect.LiteralType():
            yield from node.values
        case inspect.EnumType():
            yield from (member.value for member in node.cls)
        case _:
            for member in _alternatives(node):
                yield from _choices(member)


def _alternatives(node: inspect.Type) -> Sequence[inspect.Type]:
    if isinstance(node, inspect.UnionType):
        return node.types
    return [node.type] if isinstance(node, inspect.Metadata) else []


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
