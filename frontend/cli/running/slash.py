"""The commands of a conversation in the terminal, such as `/set temperature 0.2`. Pure."""

import re
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from frontend.cli.running.conversation import Parameters
from frontend.config_values import similar
from frontend.shortened import quoted

HELP = """\
/set system TEXT        what the model is told before the conversation
/set temperature 0.2    or top_p, top_k, max_tokens, seed; without a value: the model's default
/set think|nothink      reason before answering, or not, where the model can choose
/set format json        answer in JSON; /set noformat: in text
/set history|nohistory  send earlier turns along, or not
/set verbose|quiet      show tokens and speed after each answer, or not
/file FILE, /image FILE attach a text or an image to the next message
/show                   the model and what is set
/load MODEL             talk to another model
/clear                  forget the conversation
/bye                    leave; so does Ctrl-D
\"\"\"                     begins and ends a message of several lines
Ctrl-C                  stops an answer"""

NAMES = ("help", "set", "show", "load", "file", "image", "clear", "bye")
_OTHER_NAMES = {"?": "help", "exit": "bye", "quit": "bye", "q": "bye", "h": "help", "reset": "clear"}
_RANGES: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0, 1),
    "top_k": (int, 0, 1_000_000),
    "max_tokens": (int, 1, 1_000_000),
    "seed": (int, -(2**63), 2**63 - 1),
}
_ALIASES = {"num_predict": "max_tokens", "temp": "temperature"}
_WITHOUT_VALUE = {
    "think": ("think", True),
    "nothink": ("think", False),
    "noformat": ("json_object", False),
}
SWITCHES = {"history": True, "nohistory": False, "verbose": True, "quiet": False}
SETTABLE = ("system", *_RANGES, *_WITHOUT_VALUE, "format", *SWITCHES)
_IMAGE_PATH = re.compile(r"(?:~?/|\.\.?/)(?:\\ |\S)*\.(?:png|jpe?g|gif|bmp|webp)\b", re.IGNORECASE)


class BadCommand(Exception):
    """A command that cannot be carried out. The message is one line."""


class Slash(NamedTuple):
    name: str  # one of NAMES
    argument: str


def parse_slash(line: str, is_file: Callable[[str], bool]) -> Slash | None:
    """The command in `line`, or None if it is a message, such as one that begins with a path.

    Raises BadCommand for an unknown one.
    """
    if not line.startswith("/"):
        return None
    word, _, argument = line[1:].strip().partition(" ")
    name = _OTHER_NAMES.get(word.lower(), word.lower())
    if name in NAMES:
        return Slash(name, argument.strip())
    if "/" in word or is_file(f"/{word}"):
        return None
    close = similar(word, NAMES)
    raise BadCommand(f"no command /{word}; " + (f"did you mean /{close}?" if close else "see /help"))


def set_parameter(parameters: Parameters, argument: str) -> str:
    """Carry out `/set …` and return what to report. Raises BadCommand.

    Does not know the switches, which are no parameters.
    """
    name, _, value = argument.partition(" ")
    name, value = name.lower(), value.strip()
    if name == "parameter":  # as Ollama writes it
        name, _, value = value.partition(" ")
        value = value.strip()
    name = _ALIASES.get(name, name)
    if name == "system":
        parameters.system = unquoted(value) or None
        return "system message set" if parameters.system else "no system message"
    if name == "format":
        return _set_format(parameters, value)
    if name in _WITHOUT_VALUE and not value:
        field, setting = _WITHOUT_VALUE[name]
        setattr(parameters, field, setting)
        return name
    if name in _RANGES:
        setattr(parameters, name, number(name, value) if value else None)
        return f"{name}: {value or 'the default of the model'}"
    if not name:
        raise BadCommand("name a setting, as in /set temperature 0.2; see /help")
    close = similar(name, SETTABLE)
    raise BadCommand("no setting " + repr(name) + (f"; did you mean {close}?" if close else "; see /help"))


def _set_format(parameters: Parameters, value: str) -> str:
    if value.lower() != "json":
        raise BadCommand("write /set format json or /set noformat")
    parameters.json_object = True
    return "format: json"


def number(name: str, text: str) -> Any:
    """A parameter's value. Raises BadCommand."""
    kind, low, high = _RANGES[name]
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        what = "a whole number" if kind is int else "a number"
        between = f" from {low:g} to {high:g}" if abs(high) < 1e7 else ""
        raise BadCommand(f"{name}: must be {what}{between}, not {quoted(text)}")
    return value


def unquoted(text: str) -> str:
    """Without the quotes around it, if there are any."""
    for quote in ('"""', '"', "'"):
        if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
            return text[len(quote) : -len(quote)].strip()
    return text


def paths_in(argument: str) -> list[str]:
    """The paths of `/file a.txt "b c.txt"`. Raises BadCommand."""
    try:
        paths = shlex.split(argument)
    except ValueError:  # a quote, as in it's.txt
        paths = [argument]
    if not paths:
        raise BadCommand("name a file")
    return paths


def image_paths(line: str, is_file: Callable[[str], bool]) -> list[str]:
    """The paths of images in a message: whole or relative ones (`./cat.png`) that exist."""
    written = (found[0].replace("\\ ", " ") for found in _IMAGE_PATH.finditer(line))
    return [path for path in written if is_file(path)]
