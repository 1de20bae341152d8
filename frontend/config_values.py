"""Converts the raw value of a setting, from any source, to the setting's type.

An error names where the value was set, what is allowed, and the value, unless it may be a secret.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from frontend.config import ConfigError
from frontend.shortened import VALUE_CHARACTERS, quoted, shortened

_SIMILAR = 0.7  # from which ratio on difflib's matches are worth a suggestion; 1 is equality
_UNPRINTABLE = "must be UTF-8 text without control characters; write it anew"
_TRUE = frozenset({"true", "yes", "on", "enable", "enabled", "1", "t", "y"})
_FALSE = frozenset({"false", "no", "off", "disable", "disabled", "0", "f", "n"})


class Given(NamedTuple):
    """A raw value and where it was set, as shown in error messages."""

    value: Any
    origin: str


class Traits(NamedTuple):
    """What a setting's type does not express."""

    allowed: str = ""  # the allowed values in words; empty: derived from the type
    secret: bool = False  # never shown
    upper: bool = False  # in upper case, however it is written
    word: bool = False  # in lower case and with underscores, however it is written


NO_TRAITS = Traits()


def convert(given: Given, wanted: Any, traits: Traits = NO_TRAITS) -> Any:
    """The value as the type `wanted`. Raises ConfigError.

    Text, as from a command line, is parsed: blanks around it do not count, nor does the case of words; a list
    is comma-separated items, a mapping is comma-separated KEY=VALUE items, and either may be JSON instead.
    """
    value, origin = given
    base, _ = _base(wanted)
    if isinstance(value, str):
        value = _parsed(value.strip(), base, origin)
    if isinstance(value, dict) and _holds_tables(base):
        value = {key: _weights(item) if isinstance(item, str) else item for key, item in value.items()}
    if isinstance(value, str):
        value = value.upper() if traits.upper else _word(value) if traits.word else value
    try:
        converted = msgspec.convert(value, wanted, strict=not isinstance(given.value, str))
    except msgspec.ValidationError as error:
        shown = "" if traits.secret or value == "" else f", not {_shown(given.value)}"
        raise ConfigError(f"{origin}: must {_requirement(value, wanted, traits)}{shown}") from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{origin}: {_UNPRINTABLE}") from error
    _refuse_unprintable(converted, origin)
    return converted


def _base(wanted: Any) -> tuple[Any, list[Meta]]:
    """A type without Annotated and None, and its constraints."""
    constraints: list[Meta] = []
    while True:
        if get_origin(wanted) is Annotated:
            constraints += wanted.__metadata__
            wanted = wanted.__origin__
        elif get_origin(wanted) in (Union, UnionType) and NoneType in get_args(wanted):
            [wanted] = (member for member in get_args(wanted) if member is not NoneType)
        else:
            return wanted, constraints


def _parsed(text: str, base: Any, origin: str) -> Any:
    if base is bool:
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    container = get_origin(base)
    if container is Literal:
        return _word(text) if _word(text) in get_args(base) else text
    if container not in (list, dict):
        return text
    if text.startswith(("[", "{")):
        try:
            import json  # as difflib below: slow to import, and rarely needed

            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{origin}: invalid JSON: {error}") from error
    items = split_list(text)
    return items if container is list else key_values(items, origin)


def _holds_tables(base: Any) -> bool:
    return get_origin(base) is dict and get_origin(_base(get_args(base)[1])[0]) is dict


def _weights(text: str) -> dict[str, float] | str:
    """The mapping that `NAME:WEIGHT NAME:WEIGHT` stands for; the text itself if it is none."""
    pairs = [word.rpartition(":") for word in text.split()]
    try:
        return {name: float(weight) for name, _, weight in pairs}
    except ValueError:
        return text


def _word(text: str) -> str:
    return text.lower().replace("-", "_")


def split_list(text: str) -> list[str]:
    """The items of a comma-separated list."""
    return [item for part in text.split(",") if (item := part.strip())]


def key_values(items: Iterable[str], origin: str) -> dict[str, str]:
    """KEY=VALUE items as a mapping. Raises ConfigError."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals):
            raise ConfigError(f"{origin}: must be KEY=VALUE, not {_shown(key + equals)}")
        if found.get(key, value) != value:
            raise ConfigError(
                f"{origin}: {_shown(key)} has two values, {_shown(found[key])} and {_shown(value)}; "
                "give it one"
            )
        found[key] = value
    return found


def _requirement(value: Any, wanted: Any, traits: Traits) -> str:
    """What a value that was not accepted must do, as in "must …"."""
    base, constraints = _base(wanted)
    if value == "":
        return "not be empty"
    if traits.allowed:
        return f"be {traits.allowed}"
    if get_origin(base) is Literal:
        return f"be {one_of(get_args(base))}"
    kind = get_origin(base) or base
    if kind in (int, float) and (bound := _missed_bound(value, base, constraints)):
        return f"be {_KINDS[kind]} {bound}"
    if kind is str and isinstance(value, str):
        return f"be at most {min(meta.max_length for meta in constraints if meta.max_length)} characters"
    return f"be {_KINDS[kind]}"


_KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list of texts",
    dict: "KEY=VALUE pairs, each value text",
}


def one_of(words: Iterable[str]) -> str:
    words = list(words)
    return " or ".join(words) if len(words) == 2 else f"one of {', '.join(words)}"


def _missed_bound(value: Any, base: Any, constraints: list[Meta]) -> str:
    """The bound that a number violates; empty if the value is no number at all."""
    try:
        number = msgspec.convert(value, base, strict=not isinstance(value, str))
    except msgspec.ValidationError:
        return ""
    for meta in constraints:
        if meta.ge is not None and not number >= meta.ge:
            return f">= {meta.ge:g}" if abs(meta.ge) < 1e6 else f">= {meta.ge}"
        if meta.gt is not None and not number > meta.gt:
            return f"> {meta.gt:g}"
        if meta.le is not None and not number <= meta.le:
            return f"<= {meta.le}"
        if meta.lt is not None and not number < meta.lt:
            return f"< {meta.lt}"
    return ""


def _shown(value: Any) -> str:
    """A value as its writer knows it, shortened."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no word for it
        return str(value)
    return shortened(msgspec.json.encode(value, enc_hook=str).decode(), VALUE_CHARACTERS)


def _refuse_unprintable(value: Any, origin: str) -> None:
    """Raise ConfigError for text, wherever it is in the value, that no path, name or header can hold."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and any(char < " " or "\ud800" <= char <= "\udfff" for char in text):
            raise ConfigError(f"{origin}: {_UNPRINTABLE}")


def expanded(path: str, origin: str) -> Path:
    """The path with its `~` replaced. Raises ConfigError if no such user has a home."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError) as error:
        shown = shortened(path, VALUE_CHARACTERS)
        raise ConfigError(
            f"{origin}: {shown} names a home that does not exist; write the whole path"
        ) from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """A phrase that suggests the known word most similar to `word`; empty if none is similar."""
    close = similar(word, known)
    return f"; did you mean {close!r}?" if close else ""


def similar(word: str, known: Iterable[str]) -> str:
    """The known word most similar to `word`, case aside: empty if none is similar."""
    folded = {name.lower(): name for name in sorted(known)}
    import difflib

    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=_SIMILAR)
    return folded[close[0]] if close else ""
