"""A lease: bytes of an arena that hold one tensor, and the check of a lease that somebody else wrote."""

import math
import sys

import msgspec

_MAX_RANK = 8

# Bytes per element of the types that cross, by numpy's short names.
_ITEM_BYTES = {
    name: int(name[1:]) for name in ("u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8")
}


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Bytes of an arena, lent by its producer to its consumer until released."""

    slot: int
    generation: int  # tells a stale release from a live one
    offset: int
    size: int  # bytes
    dtype: str = "u1"  # numpy's short name of the element type
    shape: tuple[int, ...] = ()


class LeaseError(ValueError):
    """A lease with impossible bounds, or use of one that is not live."""


def check_bounds(lease: Lease, arena_size: int) -> None:
    """Raise LeaseError unless the lease lies inside an arena of `arena_size` bytes and holds just one tensor
    of its dtype and shape."""
    if lease.offset < 0 or lease.size < 0 or lease.offset + lease.size > arena_size:
        raise LeaseError(f"lease of {lease.size} bytes at {lease.offset} is outside an arena of {arena_size}")
    check_tensor(lease.size, lease.dtype, lease.shape)


def check_tensor(size: int, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise LeaseError unless a tensor of this dtype and shape has exactly `size` bytes.

    An empty tensor's other dimensions are bounded too: numpy would overflow on them.
    """
    item = _ITEM_BYTES.get(dtype)
    if item is None:
        raise LeaseError(f"unknown dtype {dtype[:32]!r}, expected one of {', '.join(_ITEM_BYTES)}")
    if len(shape) > _MAX_RANK:
        raise LeaseError(f"a shape of {len(shape)} dimensions, at most {_MAX_RANK}")
    if any(dim < 0 for dim in shape) or item * math.prod(max(dim, 1) for dim in shape) > sys.maxsize:
        raise LeaseError(f"impossible shape {shape}")
    if item * math.prod(shape) != size:
        raise LeaseError(f"a tensor of dtype {dtype} and shape {shape} does not have {size} bytes")


def vector_shape(size: int, dtype: str) -> tuple[int]:
    """The shape of a vector of `size` bytes."""
    return (size // _ITEM_BYTES.get(dtype, 1),)
