"""API keys as they are stored: the SHA-256 digest of each, and what its holder may do. Pure."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from frontend.caller import SCOPES, Caller, Limits, Scope

_PREFIX = "nk-"  # of new keys, so that one that leaked can be recognized
_SECRET_BYTES = 32
_ID_BYTES = 4
MAX_PATTERNS = 256
INFERENCE: tuple[Scope, ...] = ("inference",)

Pattern = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]+\Z")]
Patterns = Annotated[tuple[Pattern, ...], Meta(max_length=MAX_PATTERNS)]
KeyWeight = Annotated[float, Meta(gt=0, le=1000)]


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of the file of keys. Times are in Unix seconds."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    name: Annotated[str, Meta(max_length=200)] = ""
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)] = INFERENCE
    models: Patterns | None = None  # None: all
    limits: Limits = Limits()
    weight: KeyWeight = 1.0

    def refusal(self, now: float) -> str:
        """Why the key is no longer accepted, at a time in Unix seconds; empty if it is."""
        if self.revoked is not None:
            return "this API key was revoked"
        if self.expires is not None and now >= self.expires:
            return "this API key has expired"
        return ""

    @property
    def caller(self) -> Caller:
        return Caller(self.id, frozenset(self.scopes), self.models, self.limits, self.weight)


class KeyRing(msgspec.Struct, frozen=True):
    """The keys that are known."""

    records: tuple[KeyRecord, ...] = ()

    def find(self, secret: str) -> KeyRecord | None:
        """The record of a key. Compares digests with all records, so that the time it takes says nothing."""
        asked = digest(secret)
        found = None
        for record in self.records:
            if hmac.compare_digest(asked, record.sha256):
                found = record
        return found


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def new_secret() -> str:
    return _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def new_id(taken: Iterable[str]) -> str:
    taken = set(taken)
    while (key_id := f"key_{secrets.token_hex(_ID_BYTES)}") in taken:
        pass
    return key_id


def unrestricted(key_id: str, secret: str) -> KeyRecord:
    """The record of a key of the settings, which may do everything."""
    return KeyRecord(id=key_id, sha256=digest(secret), scopes=tuple(SCOPES))
