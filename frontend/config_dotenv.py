"""Reads NACELLE_* variables from a `.env` file. Lines of other programs are not looked at. Pure.

A line is `NAME=VALUE`, perhaps after `export`. A value may be in single quotes, which keep everything, or in
double quotes, in which a backslash escapes; elsewhere ` #` begins a comment. Nothing is substituted.
"""

import logging
import re
from collections.abc import Iterator, Mapping

from frontend.config import ConfigError
from frontend.config_environment import CONFIG_VARIABLE, PREFIX, URL_VARIABLE, Environment, Note
from frontend.config_names import guess
from frontend.shortened import VALUE_CHARACTERS, shortened

DOTENV = ".env"

_OURS = re.compile(rf"\s*(?:export\s+)?({PREFIX}\w*)\s*(=?)\s*(.*?)\s*", re.IGNORECASE)
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(text: str, shown: str = DOTENV) -> dict[str, str]:
    """The variables in the text of a file that errors call `shown`. The last line for a name counts.

    Raises ConfigError naming the line.
    """
    found: dict[str, str] = {}
    for number, name, equals, value in _lines(text):
        where = f"{shown} line {number}"
        if not equals:
            raise ConfigError(f"{where}: write {name}=VALUE")
        found[name] = _value(value, f"{where}: {name}")
    return found


def read_dotenv_variables(variables: Mapping[str, str], settings: frozenset[str]) -> Environment:
    """As `read_environment`, but the file is written for this server: raises ConfigError for a slip."""
    known = {*(PREFIX + setting.upper() for setting in settings), CONFIG_VARIABLE, URL_VARIABLE}
    notes: list[Note] = []
    for name in sorted(variables.keys() - known):
        shown = shortened(name, VALUE_CHARACTERS)
        if meant := guess(name[len(PREFIX) :], settings | {"config"}).setting:
            raise ConfigError(f"{DOTENV}: {shown} is not a setting; did you mean {PREFIX}{meant.upper()}?")
        notes.append(Note(logging.WARNING, f"ignored {shown} in {DOTENV}: it is not a setting"))
    kept = {
        name: value
        for name, value in variables.items()
        if value and name in known - {CONFIG_VARIABLE, URL_VARIABLE}
    }
    return Environment(kept, notes)


def _lines(text: str) -> Iterator[tuple[int, str, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if ours := _OURS.fullmatch(line):
            yield number, ours[1], ours[2], ours[3]


def _value(text: str, where: str) -> str:
    if text.startswith("'"):
        inside = _SINGLE.fullmatch(text)
    elif text.startswith('"'):
        inside = _DOUBLE.fullmatch(text)
    else:
        return _COMMENT.sub("", text).rstrip()
    if inside is None:
        raise ConfigError(f"{where}: the value must end with the quote it begins with")
    escaped = inside[1] if text.startswith('"') else inside[1].replace("\\", "\\\\")
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), escaped)
