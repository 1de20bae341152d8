"""Identifies callers: by the keys in the settings, those in the file, and tokens, in this order."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from frontend.access import jwks, tokens
from frontend.access.keys import KeyRecord, KeyRing, unrestricted
from frontend.access.keys_file import KeysFile, keys_path
from frontend.caller import Caller
from frontend.config import Settings
from frontend.errors import Unauthorized

_ASK = "send the server's API key as `Authorization: Bearer …` or as `X-Api-Key: …`"
_UNKNOWN = "this API key is unknown; ask the operator of this server for one"


class Authentication:
    """Created again when the settings change."""

    def __init__(
        self,
        configured: Sequence[KeyRecord] = (),
        file: KeysFile | None = None,
        signers: tokens.Signers | None = None,
        rules: tokens.TokenRules | None = None,
        remote: jwks.RemoteKeys | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` returns Unix seconds."""
        self._configured = KeyRing(tuple(configured))
        self._file = file
        self._signers = remote.signer if remote is not None else signers
        self._rules = rules
        self._remote = remote
        self._now = now

    @property
    def is_required(self) -> bool:
        """Whether requests need a key or a token. A file of keys may be created while the server runs; its
        keys stay in force even if it is removed."""
        by_file = self._file is not None and self._file.ring is not None
        return bool(self._configured.records) or by_file or self._signers is not None

    def identify(self, secrets: Sequence[str]) -> Caller:
        """The caller of the first accepted secret. Raises Unauthorized with the most specific reason."""
        refused: Unauthorized | None = None
        for secret in secrets:
            try:
                return self._identify(secret)
            except Unauthorized as error:
                refused = refused if refused is not None and refused.message != _UNKNOWN else error
        raise refused or Unauthorized(_ASK)

    def _identify(self, secret: str) -> Caller:
        record = self._configured.find(secret)
        ring = self._file.ring if self._file is not None else None
        in_file = ring.find(secret) if ring is not None else None
        if (record := record or in_file) is not None:
            if why := record.refusal(self._now()):
                raise Unauthorized(
                    f"{why}; ask the operator of this server for another one", key_id=record.id
                )
            return record.caller
        if self._signers is not None and self._rules is not None and tokens.looks_like_token(secret):
            caller = tokens.caller_of(secret, self._signers, self._rules)
            if caller.key_id is not None and self._record_of(caller.key_id) is not None:
                # It would have the limits, the answers and the stored responses of that key's holder.
                raise Unauthorized(
                    "the token's claim sub is the id of an API key of this server; use another"
                )
            return caller
        raise Unauthorized(_UNKNOWN)

    def _record_of(self, key_id: str) -> KeyRecord | None:
        rings = [self._configured, self._file.ring if self._file is not None else None]
        known = (record for ring in rings if ring is not None for record in ring.records)
        return next((record for record in known if record.id == key_id), None)

    def renewed(self, caller: Caller) -> Caller | None:
        """Who was let in before, with the rights that their key has now; None if it is no longer accepted.

        Whoever came without a key keeps the rights of that time; with a token, until it expires.
        """
        if caller.key_id is None:
            return caller
        if caller.by_token:
            return caller if self._signers is not None and not self._is_over(caller) else None
        record = self._record_of(caller.key_id)
        if record is None or record.refusal(self._now()):
            return None
        return msgspec.structs.replace(record.caller, is_batch=caller.is_batch)

    def _is_over(self, caller: Caller) -> bool:
        leeway = self._rules.leeway_seconds if self._rules is not None else 0.0
        return caller.until is not None and caller.until + leeway <= self._now()

    async def refresh(self) -> bool:
        """Whether it is worth checking a token again whose signer was unknown."""
        return self._remote is not None and await self._remote.refresh()

    def file_at(self, path: Path) -> KeysFile | None:
        """The present file of keys if it is at this path; its keys stay in force even if it was removed."""
        return self._file if self._file is not None and self._file.path == path else None


def authentication_of(settings: Settings, before: Authentication | None = None) -> Authentication:
    """The authentication that the settings require; `before` is the previous one. Raises ConfigError."""
    tokens.check(settings)
    configured = [] if settings.api_key is None else [unrestricted("api_key", settings.api_key)]
    configured += [unrestricted(f"api_keys.{n}", key) for n, key in enumerate(settings.api_keys, 1)]
    path = keys_path(settings.api_keys_file)
    file = before.file_at(path) if before is not None else None
    file = file or KeysFile(path, required=settings.api_keys_file is not None)
    remote = None
    if (url := settings.jwt_jwks_url) is not None:
        algorithms = tokens.chosen(settings)
        remote = jwks.RemoteKeys(jwks.http_fetch(url), settings.jwt_jwks_seconds, algorithms, url)
    signers = tokens.static_signers(settings)
    return Authentication(configured, file, signers, tokens.token_rules(settings), remote)


def is_authenticated(settings: Settings) -> bool:
    """Whether these settings let nobody in without a key or a token. Raises ConfigError."""
    if settings.api_key or settings.api_keys or tokens.is_configured(settings):
        return True
    return settings.api_keys_file is not None or keys_path(None).exists()
