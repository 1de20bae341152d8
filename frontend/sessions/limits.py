"""What a session store holds at most."""

import msgspec

from frontend.errors import RequestTooLarge


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Redis bounds its memory itself (`maxmemory`, with the policy `volatile-lru`): of these, only
    `ttl_seconds` and the size of one value hold there."""

    ttl_seconds: float  # since the last put
    max_entries: int
    max_bytes: int  # of all values together

    @property
    def max_value_bytes(self) -> int:
        """One value must not drive out all others."""
        return self.max_bytes // 4


def check_size(value: bytes, limits: Limits) -> None:
    """Raises RequestTooLarge."""
    if len(value) > limits.max_value_bytes:
        raise RequestTooLarge(
            f"this takes {len(value)} bytes of the session store, which keeps at most "
            f"{limits.max_value_bytes} in one piece"
        )
