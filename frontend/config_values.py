"""Converts the raw value of a setting, from any source, to the setting's type."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from frontend.config import ConfigError


class Given(NamedTuple):
    """A raw value and where it was set, as shown in error messages."""

    value: Any
    origin: str


def convert(given: Given, wanted: Any) -> Any:
    """The value as the type `wanted`. Raises ConfigError.

    Text, as from a command line, is parsed: a list is comma-separated items, a mapping is comma-separated
    KEY=VALUE items, and either may be JSON instead.
    """
    value = given.value
    if isinstance(value, str):
        value = _parse_text(given, wanted)
    try:
        return msgspec.convert(value, wanted, strict=not isinstance(given.value, str))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{given.origin}: {_complaint(error, given.value, wanted)}") from error


def _parse_text(given: Given, wanted: Any) -> Any:
    container = get_origin(wanted)
    if container not in (list, dict):
        return given.value
    if given.value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(given.value)
        except ValueError as error:
            raise ConfigError(f"{given.origin}: invalid JSON: {error}") from error
    items = split_list(given.value)
    return items if container is list else key_values(items, given.origin)


def split_list(text: str) -> list[str]:
    """The items of a comma-separated list."""
    return [item for part in text.split(",") if (item := part.strip())]


def key_values(items: Iterable[str], origin: str) -> dict[str, str]:
    """KEY=VALUE items as a mapping. Raises ConfigError."""
    pairs = [item.partition("=") for item in items]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise ConfigError(f"{origin}: must be KEY=VALUE, not {key + equals!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", " | null": ""}


def _complaint(error: msgspec.ValidationError, value: Any, wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"must be {' or '.join(get_args(wanted))}, not {value!r}"
    expected = re.sub(r"Expected |, got `.*?`|`", "", str(error))
    # A value that does not match a pattern may be a secret, so it is not shown.
    shown = "" if "matching regex" in expected else f", not {value!r}"
    expected = re.sub(r"\b(int|float|bool|str)\b|( \| null)", lambda word: _WORDS[word[0]], expected)
    return f"must be {expected}{shown}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """A phrase that suggests the known word most similar to `word`; empty if none is similar."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
