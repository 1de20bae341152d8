"""A bounded store of bytes by key, and the choice among its implementations."""

import importlib.util
import logging
from pathlib import Path
from typing import Protocol

from frontend.config import ConfigError
from frontend.errors import StoreUnavailable
from frontend.sessions.limits import Limits

log = logging.getLogger("nacelle.sessions")


class Store(Protocol):
    """Bytes by key. What has not been used for longest goes first when room is needed.

    Every call ends within a few seconds; all raise StoreUnavailable when the store does not answer.
    """

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes) -> None:
        """Raises RequestTooLarge above `Limits.max_value_bytes`."""

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Put `new` if the value still is `old`; None means that there is none. Raises RequestTooLarge."""

    async def delete(self, key: str) -> bool:
        """Whether there was anything to delete."""

    async def close(self) -> None: ...


def unavailable(error: Exception) -> StoreUnavailable:
    """For the client. What it says of addresses and paths is for the log alone."""
    log.warning("the session store failed: %s", str(error) or type(error).__name__)
    return StoreUnavailable("the session store is not available", retry_after=1)


def open_store(url: str, limits: Limits) -> Store:
    """The store at `memory:`, `sqlite:PATH`, or `redis://…`. Connects at its first use.

    Raises ConfigError, which never quotes the URL: it may hold a password.
    """
    scheme, _, rest = url.partition(":")
    if url == "memory:":
        from frontend.sessions.memory import MemoryStore

        return MemoryStore(limits)
    if scheme == "sqlite" and rest and not rest.startswith("//"):
        from frontend.sessions.sqlite import SqliteStore

        return SqliteStore(Path(rest).expanduser(), limits)
    if scheme in ("redis", "rediss"):
        if importlib.util.find_spec("redis") is None:
            raise ConfigError("session_store: install nacelle-server[redis] to keep sessions in Redis")
        from frontend.sessions.redis import RedisStore

        return RedisStore(url, limits)
    raise ConfigError("session_store: must be memory:, sqlite:PATH or redis://HOST:PORT/DB")
