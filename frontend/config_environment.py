"""The NACELLE_* variables that are meant for this server. Pure."""

import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from frontend.shortened import VALUE_CHARACTERS, shortened

PREFIX = "NACELLE_"
CONFIG_VARIABLE = "NACELLE_CONFIG"
URL_VARIABLE = "NACELLE_URL"  # the server that commands talk to

# Kubernetes describes a service named nacelle, or nacelle-something, to every pod of its namespace. Links
# between containers do the same.
_OF_A_SERVICE = re.compile(
    r"NACELLE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|START|END))?)"
)
_PORT_OF_A_SERVICE = re.compile(r"NACELLE_(\w+_)?PORT")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+", re.IGNORECASE)
_NAME_OF_A_LINK = re.compile(r"/[^/\s]+/[^/\s]+")  # the value of NACELLE_NAME there


class Note(NamedTuple):
    """Something about the settings that the operator should know. `level` is one of `logging`."""

    level: int
    text: str


class Environment(NamedTuple):
    """`variables` maps names to values, without blanks around them; those without a value are left out."""

    variables: dict[str, str]
    notes: list[Note]


def read_environment(environ: Mapping[str, str], settings: frozenset[str]) -> Environment:
    """`settings` are the names of those that have a variable."""
    own = {
        name: value.strip()
        for name, value in environ.items()
        if name.upper().startswith(PREFIX) and value.strip()
    }
    foreign = _of_services(own)
    known = {PREFIX + setting.upper() for setting in settings}
    variables = {name: value for name, value in own.items() if name in known and name not in foreign}
    unknown = sorted(own.keys() - known - foreign.keys() - {CONFIG_VARIABLE, URL_VARIABLE})
    return Environment(variables, [*_note_of_services(foreign), *_notes_of_slips(unknown, settings)])


def _of_services(variables: Mapping[str, str]) -> dict[str, str]:
    found = {
        name: value
        for name, value in variables.items()
        if _OF_A_SERVICE.fullmatch(name)
        or (_PORT_OF_A_SERVICE.fullmatch(name) and _SERVICE_URL.fullmatch(value))
    }
    name = variables.get("NACELLE_NAME", "")
    return found | {"NACELLE_NAME": name} if found and _NAME_OF_A_LINK.fullmatch(name) else found


def _note_of_services(foreign: Mapping[str, str]) -> list[Note]:
    if not foreign:
        return []
    first = "NACELLE_PORT" if "NACELLE_PORT" in foreign else min(foreign)
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    shown = shortened(foreign[first], VALUE_CHARACTERS)
    text = f"ignored {first}={shown}{more}: set by Kubernetes for a service; --port sets the port"
    return [Note(logging.INFO, text)]


def _notes_of_slips(unknown: list[str], settings: frozenset[str]) -> list[Note]:
    notes = []
    for name in unknown:
        from frontend.config_names import guess  # hardly anybody needs it

        meant = guess(name[len(PREFIX) :], settings | {"config"}).setting
        if meant:
            shown = shortened(name, VALUE_CHARACTERS)
            text = f"ignored {shown}, which is not a setting; did you mean {PREFIX}{meant.upper()}?"
            notes.append(Note(logging.WARNING, text))
    return notes
