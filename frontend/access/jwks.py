"""The public keys of an issuer, from a URL: cached, and fetched again when a token names an unknown one."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from frontend.access.tokens import SigningKey, algorithms_of, unknown_signer
from frontend.shortened import shown_source, without_secrets

_FETCH_SECONDS = 5.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100
_STALE_SECONDS = 3600.0  # after which the keys are fetched again, so that withdrawn ones stop working

log = logging.getLogger("nacelle")
Fetch = Callable[[], Awaitable[bytes]]


class KeySet(msgspec.Struct, frozen=True):
    by_kid: dict[str, SigningKey] = {}
    nameless: tuple[SigningKey, ...] = ()

    def find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        """Without a `kid`, the one key that the algorithm fits."""
        if kid is not None and (found := self.by_kid.get(kid)) is not None:
            return found
        others = self.nameless if kid is not None else (*self.by_kid.values(), *self.nameless)
        fitting = [key for key in others if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None


def parse_key_set(content: bytes, algorithms: Sequence[str]) -> KeySet:
    """The keys that can verify tokens, without secrets, which must not be published, and unsuitable ones.

    Raises ValueError if the content is not a key set.
    """
    document = msgspec.json.decode(content)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("it has no list of keys")
    by_kid: dict[str, SigningKey] = {}
    nameless = []
    for entry in keys[:_MAX_KEYS]:
        if isinstance(entry, dict) and (key := _signing_key(entry, algorithms)) is not None:
            kid = entry.get("kid")
            if isinstance(kid, str):
                by_kid.setdefault(kid, key)
            else:
                nameless.append(key)
    return KeySet(by_kid, tuple(nameless))


def _signing_key(entry: dict[str, Any], algorithms: Sequence[str]) -> SigningKey | None:
    import jwt

    if entry.get("kty") not in ("RSA", "EC") or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(entry).key
    except Exception:  # whatever the library raises for a key that is broken
        return None
    key = key.public_key() if hasattr(key, "public_key") else key  # somebody published a private key
    stated = entry.get("alg")
    allowed = tuple(
        name for name in algorithms_of(key) if name in algorithms and (stated is None or name == stated)
    )
    return SigningKey(key, allowed) if allowed else None


class RemoteKeys:
    """One fetch at a time, and none sooner than `seconds` after the last."""

    def __init__(
        self,
        fetch: Fetch,
        seconds: float,
        algorithms: Sequence[str],
        url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._algorithms = algorithms
        self._url = url
        self._clock = clock
        self._began: float | None = None
        self._fetched: float | None = None
        self._keys = KeySet()
        self._running: asyncio.Task[None] | None = None

    def signer(self, kid: str | None, algorithm: str) -> SigningKey:
        """Raises UnknownSigner, after which `refresh` may help."""
        if self._fetched is not None and self._clock() - self._fetched >= _STALE_SECONDS:
            self._begin()  # meanwhile the old ones are used
        found = self._keys.find(kid, algorithm)
        if found is None:
            raise unknown_signer(kid)
        return found

    async def refresh(self) -> bool:
        """Fetch the keys, or wait for the fetch that is running. False if the last one was too recent."""
        task = self._begin()
        if task is None:
            return False
        await asyncio.shield(task)
        return True

    def _begin(self) -> "asyncio.Task[None] | None":
        now = self._clock()
        if self._running is not None and not self._running.done():
            return self._running
        if self._began is not None and now - self._began < self._seconds:
            return None
        self._began = now
        self._running = asyncio.ensure_future(self._update())
        return self._running

    async def _update(self) -> None:
        """If it fails, log why and keep the known keys."""
        try:
            content = await asyncio.wait_for(self._fetch(), _FETCH_SECONDS)
            self._keys = parse_key_set(content, self._algorithms)
        except asyncio.CancelledError:
            raise
        except TimeoutError:
            self._failed(f"no answer within {_FETCH_SECONDS:g} s")
        except Exception as error:  # of the network, or of what is not JSON
            self._failed(str(error) or type(error).__name__)
        else:
            self._fetched = self._clock()

    def _failed(self, why: str) -> None:
        log.error(
            "the keys of %s could not be fetched: %s",
            shown_source(self._url),
            without_secrets(why, self._url),
        )


def http_fetch(url: str) -> Fetch:
    """GET without redirects. Raises OSError, aiohttp.ClientError or ValueError."""

    async def fetch() -> bytes:
        import aiohttp  # slow to import

        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            content = bytearray()
            async for part in response.content.iter_chunked(65_536):
                content += part
                if len(content) > _MAX_BYTES:
                    raise ValueError(f"more than {_MAX_BYTES >> 10} KiB")
            return bytes(content)

    return fetch
