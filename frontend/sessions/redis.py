"""A store in Redis: shared by servers on several machines."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from frontend.config import ConfigError
from frontend.sessions.limits import Limits, check_size
from frontend.sessions.store import unavailable

T = TypeVar("T")

_PREFIX = "nacelle:"
_CALL_SECONDS = 5.0
_SOCKET_SECONDS = 2.0
_MAX_CONNECTIONS = 32

# KEYS: key. ARGV: whether there must be an old value, that value, the new one, its TTL in milliseconds.
_REPLACE = """
local value = redis.call('GET', KEYS[1])
if value == ARGV[3] then return 1 end -- done before; the answer was lost
if ARGV[1] == '1' and value ~= ARGV[2] or ARGV[1] == '0' and value then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
"""


class RedisStore:
    """Implements `store.Store`, but for the bounds on the whole, which are Redis's own."""

    def __init__(self, url: str, limits: Limits) -> None:
        """Raises ConfigError."""
        self._limits = limits
        self._ttl = max(1, int(limits.ttl_seconds * 1000))  # milliseconds
        try:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                url,
                max_connections=_MAX_CONNECTIONS,
                timeout=_SOCKET_SECONDS,
                socket_timeout=_SOCKET_SECONDS,
                socket_connect_timeout=_SOCKET_SECONDS,
                retry=Retry(NoBackoff(), 1),  # a connection that went stale while idle
            )
        except ValueError:
            raise ConfigError("session_store: not a Redis URL such as redis://HOST:PORT/DB") from None
        self._redis = redis.asyncio.Redis.from_pool(pool)

    async def get(self, key: str) -> bytes | None:
        value: Any = await _in_time(self._redis.get(_PREFIX + key))
        return cast("bytes | None", value)

    async def put(self, key: str, value: bytes) -> None:
        check_size(value, self._limits)
        await _in_time(self._redis.set(_PREFIX + key, value, px=self._ttl))

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        check_size(new, self._limits)
        arguments: list[Any] = ["0" if old is None else "1", old or b"", new, self._ttl]
        return bool(await _in_time(self._redis.eval(_REPLACE, 1, _PREFIX + key, *arguments)))

    async def delete(self, key: str) -> bool:
        return bool(await _in_time(self._redis.delete(_PREFIX + key)))

    async def close(self) -> None:
        await self._redis.aclose()


async def _in_time(call: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(call, _CALL_SECONDS)
    except (RedisError, OSError) as error:  # TimeoutError among them
        raise unavailable(error) from None
