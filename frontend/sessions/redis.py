"""A store in Redis, which servers on several machines can share."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from frontend.config import ConfigError
from frontend.sessions.failures import unavailable
from frontend.sessions.limits import StoreLimits, check_size

T = TypeVar("T")

_PREFIX = "nacelle:"
_CALL_SECONDS = 5.0
_SOCKET_SECONDS = 2.0
_MAX_CONNECTIONS = 32

_WRONG_TYPE = "WRONGTYPE"  # how Redis's error begins for a key that holds no string

# KEYS: key. ARGV: '1' if an old value is expected, that value, the new one, its TTL in milliseconds.
_REPLACE = """
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then -- an error
    if not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
    value = false -- not ours, so it counts as absent
end
if value == ARGV[3] then return 1 end -- a retry: the first reply was lost
if ARGV[1] == '1' and value ~= ARGV[2] or ARGV[1] == '0' and value then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
"""


class RedisStore:
    """Implements `store.Store`, except that Redis itself limits the number and total size of entries."""

    def __init__(self, url: str, limits: StoreLimits) -> None:
        """Raises ConfigError."""
        self.limits = limits
        self._ttl = max(1, int(limits.ttl_seconds * 1000))  # milliseconds
        try:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                url,
                max_connections=_MAX_CONNECTIONS,
                timeout=_SOCKET_SECONDS,
                socket_timeout=_SOCKET_SECONDS,
                socket_connect_timeout=_SOCKET_SECONDS,
                retry=Retry(NoBackoff(), 1),  # for a connection that became stale while idle
            )
            pool.connection_kwargs["decode_responses"] = False  # values are bytes, whatever the URL says
            pool.connection_class(**pool.connection_kwargs)  # refuses unknown options; does not connect
        except (ValueError, TypeError):
            raise ConfigError("session_store: must be a Redis URL such as redis://HOST:PORT/DB") from None
        self._redis = redis.asyncio.Redis.from_pool(pool)

    async def get(self, key: str) -> bytes | None:
        value: Any = await _in_time(_get(self._redis, _PREFIX + key))
        return cast("bytes | None", value)

    async def put(self, key: str, value: bytes) -> None:
        check_size(value, self.limits)
        await _in_time(self._redis.set(_PREFIX + key, value, px=self._ttl))

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        check_size(new, self.limits)
        arguments: list[Any] = ["0" if old is None else "1", old or b"", new, self._ttl]
        return bool(await _in_time(self._redis.eval(_REPLACE, 1, _PREFIX + key, *arguments)))

    async def delete(self, key: str) -> bool:
        return bool(await _in_time(self._redis.delete(_PREFIX + key)))

    async def close(self) -> None:
        await self._redis.aclose()


async def _get(client: "redis.asyncio.Redis", key: str) -> Any:
    """A key that holds no string counts as absent."""
    try:
        return await client.get(key)
    except ResponseError as error:
        if str(error).startswith(_WRONG_TYPE):
            return None
        raise


async def _in_time(call: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(call, _CALL_SECONDS)
    except (RedisError, OSError) as error:  # OSError includes TimeoutError
        raise unavailable(error) from None
