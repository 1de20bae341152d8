"""The limits of a session store."""

import msgspec

from frontend.errors import RequestTooLarge


class StoreLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Redis limits its total memory itself (`maxmemory`, with the policy `volatile-lru`): there, only
    `ttl_seconds` and the size of a single value apply."""

    ttl_seconds: float  # from the last write
    max_entries: int
    max_bytes: int  # of all values together

    @property
    def max_value_bytes(self) -> int:
        """A single value must not evict all others."""
        return self.max_bytes // 4


def check_size(value: bytes, limits: StoreLimits) -> None:
    """Raises RequestTooLarge."""
    if len(value) > limits.max_value_bytes:
        raise RequestTooLarge(
            f"this takes {len(value)} bytes in the session store; a single entry may use at most "
            f"{limits.max_value_bytes}"
        )
