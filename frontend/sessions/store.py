"""The interface of session stores (bounded stores of bytes by key) and the choice of an implementation."""

import importlib.util
from pathlib import Path
from typing import Protocol

from frontend.config import ConfigError
from frontend.sessions.limits import StoreLimits


class Store(Protocol):
    """Bytes by key. When room is needed, the least recently used entry is evicted first.

    Every call ends within a few seconds. All raise StoreUnavailable when the store does not answer.
    """

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes) -> None:
        """Raises RequestTooLarge above `StoreLimits.max_value_bytes`."""

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Compare and set: store `new` if the current value is `old`, where None means absent.

        Returns whether it was stored. Raises RequestTooLarge.
        """

    async def delete(self, key: str) -> bool:
        """Returns whether the key existed."""

    async def close(self) -> None: ...


def open_store(url: str, limits: StoreLimits) -> Store:
    """The store at `memory:`, `sqlite:PATH`, or `redis://…`. Connects on first use.

    Raises ConfigError, which never quotes the URL: it may contain a password.
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
            raise ConfigError("session_store: Redis support is not installed; install nacelle-server[redis]")
        from frontend.sessions.redis import RedisStore

        return RedisStore(url, limits)
    raise ConfigError("session_store: must be memory:, sqlite:PATH or redis://HOST:PORT/DB")
