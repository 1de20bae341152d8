"""The interface of session stores (bounded stores of bytes by key) and the choice of an implementation."""

import importlib.util
from typing import Protocol

from frontend.config import ConfigError
from frontend.config_values import expanded
from frontend.sessions.limits import StoreLimits
from frontend.shortened import shown_path


class Store(Protocol):
    """Bytes by key. When room is needed, the least recently used entry is evicted first.

    Every call ends within a few seconds. All raise StoreUnavailable when the store does not answer.
    """

    @property
    def limits(self) -> StoreLimits: ...

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

        return SqliteStore(expanded(rest, "session_store"), limits)
    if scheme in ("redis", "rediss"):
        if importlib.util.find_spec("redis") is None:
            raise ConfigError("session_store: Redis support is not installed; install nacelle-server[redis]")
        from frontend.sessions.redis import RedisStore

        return RedisStore(url, limits)
    raise ConfigError("session_store: must be memory:, sqlite:PATH or redis://HOST:PORT/DB")


def check_store(url: str) -> None:
    """Raise ConfigError if a SQLite file cannot be used. A Redis server may still come up."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        return
    import sqlite3  # only who uses it pays for it

    from frontend.sessions.sqlite import check_file

    path = expanded(rest, "session_store")
    try:
        check_file(path)
    except (OSError, ValueError, sqlite3.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigError(
            f"session_store: cannot use {shown_path(path)}: {reason}; choose another file with "
            "--session-store"
        ) from error
