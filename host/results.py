"""Where engines put results: inline in a message if they are small, else in the result arena."""

from typing import Any

from ipc.arena import ArenaProducer
from ipc.messages import INLINE_LIMIT_BYTES, Payload, Release


class Results:
    """The host's side of the result arena."""

    def __init__(self, arena: ArenaProducer) -> None:
        self._arena = arena

    @property
    def limit_bytes(self) -> int:
        """The largest result that can ever be placed."""
        return self._arena.size

    def place(self, tensor: Any) -> Payload | None:
        """Copy a numpy array, in row-major order; None while the arena has no room for it.

        Raises LeaseError above `limit_bytes`.
        """
        if tensor.nbytes <= INLINE_LIMIT_BYTES:
            return bytes(tensor.tobytes())
        lease = self._arena.lease(tensor.nbytes, tensor.dtype.str[1:], tensor.shape)
        if lease is not None:
            self._arena.write(lease, memoryview(tensor).cast("B"))
        return lease

    def release(self, message: Release) -> None:
        """The frontend has read a lease. Raises LeaseError if there is none."""
        self._arena.release(message.slot, message.generation)
