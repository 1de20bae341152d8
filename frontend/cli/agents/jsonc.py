"""Changes one value in a JSON file with comments, and leaves the rest of its text as it is. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_SPACE = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_SCALAR = re.compile(r"[^\s,\]}\"{\[/]+")
_INDENT = "  "


class UnreadableJson(Exception):
    """A text that is no JSON object, even with comments and trailing commas."""


class _Member(NamedTuple):
    key: str
    begin: int  # of the key
    value: int
    end: int  # of the value


def read_jsonc(text: str) -> dict[str, Any]:
    """The object. Raises UnreadableJson."""
    plain = _without_comments(text)
    try:
        value = json.loads(plain) if plain.strip() else {}
    except ValueError as error:
        raise UnreadableJson(str(error)) from error
    if not isinstance(value, dict):
        raise UnreadableJson("it is not an object")
    return value


def value_at(document: Any, path: Sequence[str]) -> Any:
    """The value at a path of keys; None if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def with_value(text: str, path: Sequence[str], value: Any) -> str:
    """The text with another value at `path`, whose objects are created as needed. Raises UnreadableJson."""
    before = read_jsonc(text)
    if not _without_comments(text).strip():
        text = f"{text.rstrip()}\n{{}}\n".lstrip()
    changed = _changed(text, path, value)
    after = read_jsonc(changed)
    if after != _expected(before, path, value):  # a text that this module reads otherwise than json does
        raise UnreadableJson("it is written in an unusual way")
    return changed


def _expected(document: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    key, *rest = path
    inner = document.get(key)
    if rest:
        value = _expected(inner if isinstance(inner, dict) else {}, rest, value)
    return {**document, key: value}


def _changed(text: str, path: Sequence[str], value: Any) -> str:
    begin = _skip_space(text, 0)
    for depth, key in enumerate(path):
        members = _members(text, begin)
        found = next((member for member in members if member.key == key), None)
        is_last = depth == len(path) - 1
        if found is not None and not is_last and text[found.value] == "{":
            begin = found.value
            continue
        for missing in reversed(path[depth + 1 :]):
            value = {missing: value}
        if found is None:
            return _inserted(text, begin, members, key, value, depth + 1)
        written = _written(value, _indent_at(text, found.begin))
        return text[: found.value] + written + text[found.end :]
    raise ValueError("an empty path")


def _inserted(text: str, begin: int, members: list[_Member], key: str, value: Any, depth: int) -> str:
    """A new first member of the object at `begin`, so that no comma is needed before it."""
    indent = _indent_at(text, members[0].begin) if members else _INDENT * depth
    member = f"\n{indent}{json.dumps(key)}: {_written(value, indent)}"
    if members:
        starts_line = "\n" in text[begin : members[0].begin]
        tail = "," + ("" if starts_line else "\n" + indent)
    else:
        tail = "\n" + _INDENT * (depth - 1)
    return text[: begin + 1] + member + tail + text[begin + 1 :]


def _indent_at(text: str, position: int) -> str:
    """The blanks before what is at `position`, or the usual ones if it does not begin its line."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line if not line.strip() and line else _INDENT


def _written(value: Any, indent: str) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + indent)


def _members(text: str, begin: int) -> list[_Member]:
    if text[begin : begin + 1] != "{":
        raise UnreadableJson("it is not an object")
    members = []
    position = _skip_space(text, begin + 1)
    while text[position : position + 1] != "}":
        key = _STRING.match(text, position)
        if key is None:
            raise UnreadableJson("a key is missing")
        value = _skip_space(text, _skip_space(text, key.end()) + 1)  # behind the colon
        end = _value_end(text, value)
        members.append(_Member(json.loads(key[0]), position, value, end))
        position = _skip_space(text, end)
        if text[position : position + 1] == ",":
            position = _skip_space(text, position + 1)
    return members


def _value_end(text: str, begin: int) -> int:
    """Behind the value at `begin`. Brackets are counted, not matched: the text is known to be JSON."""
    depth, position = 0, begin
    while position < len(text):
        position = _skip_space(text, position)
        char = text[position : position + 1]
        token = _STRING.match(text, position) if char == '"' else _SCALAR.match(text, position)
        if char in "{[" and char:
            depth += 1
            position += 1
        elif char in "}]" and char:
            depth -= 1
            position += 1
        elif char == ",":
            position += 1
        elif token is not None:
            position = token.end()
        else:
            break
        if depth == 0:
            return position
    raise UnreadableJson("it ends too early")


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _without_comments(text: str) -> str:
    parts, position = [], 0
    while position < len(text):
        string = _STRING.match(text, position)
        space = _SPACE.match(text, position)
        if string is not None:
            parts.append(json.dumps(json.loads(string[0], strict=False)))
            position = string.end()
        elif space is not None and space.end() > position:
            parts.append(" ")
            position = space.end()
        else:
            parts.append(text[position])
            position += 1
    return _drop_trailing_commas(parts)


def _drop_trailing_commas(parts: list[str]) -> str:
    """Commas before a closing bracket. A string is one part, so that none inside of it is meant."""
    kept: list[str] = []
    for part in parts:
        if part in ("}", "]"):
            while kept and kept[-1] in (" ", ","):
                kept.pop()
        kept.append(part)
    return "".join(kept)
