"""What the claims of a token say about its holder. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from frontend.access.keys import MAX_PATTERNS, KeyWeight, Pattern
from frontend.caller import SCOPES, Caller, Limits, Scope
from frontend.errors import Unauthorized

_MAX_SUBJECT = 200
_AT_PATH = re.compile(r"at `\$\.([a-z_]+)((?:\.[a-z_]+)?)")
_SCOPES = "must be text with blanks between scopes, or a list of scopes"
_RULES = {
    "sub": f"must be 1 to {_MAX_SUBJECT} printable characters",
    "scope": _SCOPES,
    "scp": _SCOPES,
    "nacelle_models": f"must be a list of names, at most {MAX_PATTERNS}, each of 1 to 200 characters without "
    "blanks",
    "nacelle_limits": f"must be an object with nothing but {', '.join(Limits.__struct_fields__)}",
    "nacelle_weight": "must be a number above 0 and up to 1000",
}
_LIMIT = "must be a whole number, 0 or more"


class _Claims(msgspec.Struct):
    sub: str
    scope: str | list[str] | None = None
    scp: str | list[str] | None = None  # what some services call it
    nacelle_models: list[Pattern] | None = None
    nacelle_limits: Limits | None = None
    nacelle_weight: KeyWeight = 1.0


def caller_with(claims: Mapping[str, Any]) -> Caller:
    """Raises Unauthorized, which names the claim that is wrong, but nothing of its value."""
    try:
        given = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as error:
        found = _AT_PATH.search(str(error))
        raise _wrong(*found.groups() if found else ("sub",)) from None
    if not 0 < len(given.sub) <= _MAX_SUBJECT or not given.sub.isprintable():
        raise _wrong("sub")
    if given.nacelle_models is not None and len(given.nacelle_models) > MAX_PATTERNS:
        raise _wrong("nacelle_models")
    models = None if given.nacelle_models is None else tuple(given.nacelle_models)
    limits = given.nacelle_limits or Limits()
    return Caller(given.sub, _scopes(given), models, limits, given.nacelle_weight, by_token=True)


def _wrong(claim: str, field: str = "") -> Unauthorized:
    return Unauthorized(f"the token's claim {claim}{field} {_LIMIT if field else _RULES[claim]}")


def _scopes(given: _Claims) -> frozenset[Scope]:
    """Those that the token states, with or without `nacelle:`; inference where it states none."""
    stated = given.scope if given.scope is not None else given.scp
    if stated is None:
        return frozenset(("inference",))
    words = stated.split() if isinstance(stated, str) else stated
    names = {word.removeprefix("nacelle:") for word in words}
    return frozenset(scope for scope in SCOPES if scope in names)
