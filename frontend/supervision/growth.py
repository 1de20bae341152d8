"""When a host that grows is replaced, and when one that is being replaced must leave: pure decisions.

Engines keep what they have built, such as the grammar of each JSON schema, so that a host that works may only
grow.
"""

from enum import Enum

import msgspec

# Of the limit. A host beyond it waits for nobody, so that it stays within 10 % of the limit.
URGENT = 1.05
# Of what a host may grow by until it gets to the limit. Replicas of a model share its work, so that they get
# there at the same time: the first one leaves earlier, because the others do its work meanwhile.
EARLY = 0.75


class Sample(msgspec.Struct, frozen=True):
    """A ready host at one time. Sizes in bytes, times in seconds."""

    size: int
    loaded_size: int  # when it became ready
    ready_seconds: float  # since then
    load_seconds: float  # from its spawn until then
    has_worked: bool  # a request has ended there
    has_siblings: bool  # the model has other replicas
    is_turn: bool  # none of them is about to be replaced or loads


class Growth(Enum):
    """What is to be done about a host's size."""

    FINE = "nothing"
    REPLACE = "it finishes what it has, and another one is started"
    FUTILE = "nothing but a warning: another one would soon be as large"


def judge(sample: Sample, limit: int) -> Growth:
    """Whether to replace a ready host; a `limit` of 0 is none.

    A replacement costs a load. So a host is replaced only if the limit leaves it room to work, if it has done
    something since it was loaded, and, unless it is far beyond the limit, if it has been ready for longer
    than a load takes: requests end whatever the limit is.
    """
    if not limit or sample.size <= _start(sample, limit):
        return Growth.FINE
    is_urgent = sample.size > limit * URGENT
    is_new = not sample.has_worked or (sample.ready_seconds < sample.load_seconds and not is_urgent)
    if not _has_room(sample.loaded_size, limit) or is_new:
        return Growth.FUTILE if sample.size > limit else Growth.FINE
    return Growth.REPLACE if sample.is_turn or is_urgent else Growth.FINE


def _has_room(loaded_size: int, limit: int) -> bool:
    """Whether a host that is so large when it is loaded can work within a limit."""
    return loaded_size * URGENT < limit


def _start(sample: Sample, limit: int) -> float:
    if not sample.has_siblings or not _has_room(sample.loaded_size, limit):
        return limit
    return _early(sample.loaded_size, limit)


def _early(loaded_size: int, limit: int) -> float:
    return loaded_size + EARLY * (limit - loaded_size)


class Leaving(msgspec.Struct, frozen=True):
    """A host that finishes what it has, to be replaced. Sizes in bytes, times in seconds."""

    size: int
    loaded_size: int
    seconds: float  # since it got nothing new
    can_move: bool  # another host can go on with all that it has
    held: int  # requests there
    ended: int  # requests that have ended there since it became ready


def must_leave(leaving: Leaving, limit: int, patience_seconds: float) -> bool:
    """Whether it ends now, and another host goes on with what it has: after `patience_seconds`, or at once if
    it grows too far beyond the limit. While something there cannot be continued elsewhere, it stays.

    So does a large host that has finished less than it holds. It is that work that made it large, as it would
    make the next host: the same requests would begin again and again, and hardly any of them would end.
    """
    has_room = _has_room(leaving.loaded_size, limit)  # else the next host is not replaced either
    is_large = has_room and leaving.size > _early(leaving.loaded_size, limit)
    if is_large and leaving.ended < leaving.held:
        return False
    is_urgent = has_room and leaving.size > limit * URGENT
    return leaving.can_move and (is_urgent or leaving.seconds >= patience_seconds)
