"""What becomes of a job whose host died: pure decisions over plain data, the same for every task.

A job in flight at a crash is a suspect. Suspects are tried alone, one at a time, until each has passed the
point where its host died. The point is the progress made over all incarnations, in the task's own unit; 0 is
the time before the first. A job that kills hosts alone without getting further is blamed. A host that had too
little CPU proves nothing against the job that it was working on.
"""

import msgspec

from ipc.continuation import Continuation

_SAME_POINT_DEATHS = 2  # alone, at one point
_NO_PROGRESS_DEATHS = 3  # alone, none of them further than the first
_INCONCLUSIVE_DEATHS = 5  # alone, of hosts that had too little CPU


class Suspicion(msgspec.Struct, frozen=True):
    """The evidence against one job."""

    point: int | None = None  # where its host last died; None while it is no suspect
    alone_at: tuple[int, ...] = ()  # the points of deaths with it alone
    inconclusive: int = 0  # deaths with it alone that prove nothing

    def passed_by(self, point: int) -> bool:
        """Whether `point` is beyond the point of death."""
        return self.point is not None and point > self.point


class Crash(msgspec.Struct, frozen=True):
    """A host's death as one of its jobs sees it."""

    implicates: bool  # false for a SIGKILL from outside
    alone: bool  # no other job was in the host
    conclusive: bool = True  # false where the host had too little CPU


class Progress(msgspec.Struct, frozen=True):
    """How far a job has come, and how its task can go on from there."""

    point: int = 0
    continuation: Continuation = Continuation.BY_TEXT
    visible: bool = False  # the client has seen it, so that nothing can be taken back


class Continue(msgspec.Struct, frozen=True):
    """Send it to a host again, with the progress it has; the host continues from there, or repeats it and
    compares where what follows depends on more than the result so far."""

    suspicion: Suspicion
    by_replay: bool = False


class StartOver(msgspec.Struct, frozen=True):
    """Send it again as if nothing had come of it; its result so far is taken back."""

    suspicion: Suspicion


class Blame(msgspec.Struct, frozen=True):
    """It kills hosts: end it, and refuse equal requests for a while."""


class Undecided(msgspec.Struct, frozen=True):
    """End it without blame: the machine is too busy to find out whether it kills hosts."""


class GiveUp(msgspec.Struct, frozen=True):
    """It is innocent, but what its client has seen cannot be produced again."""


Verdict = Continue | StartOver | Blame | Undecided | GiveUp


def after_death(progress: Progress, suspicion: Suspicion, crash: Crash) -> Verdict:
    """What to do with a job that was in a host when it died."""
    point = progress.point
    if crash.implicates:
        suspicion = _suspected(suspicion, point, crash)
        if _guilty(suspicion.alone_at):
            return Blame()
        if suspicion.inconclusive >= _INCONCLUSIVE_DEATHS:
            return Undecided()
    if progress.continuation is Continuation.BY_TEXT or not point:
        return Continue(suspicion)
    if not progress.visible:
        return StartOver(suspicion)
    by_replay = progress.continuation is Continuation.BY_REPLAY
    return Continue(suspicion, by_replay=True) if by_replay else GiveUp()


def can_move(progress: Progress) -> bool:
    """Whether another host is certain to go on where this one stops. A repetition is not: it may differ."""
    return progress.continuation is Continuation.BY_TEXT or not progress.visible


def _suspected(suspicion: Suspicion, point: int, crash: Crash) -> Suspicion:
    alone_at, inconclusive = suspicion.alone_at, suspicion.inconclusive
    if crash.alone and crash.conclusive:
        alone_at = (*alone_at, point)
    elif crash.alone:
        inconclusive += 1
    return Suspicion(point, alone_at, inconclusive)


def _guilty(alone_at: tuple[int, ...]) -> bool:
    if any(alone_at.count(point) >= _SAME_POINT_DEATHS for point in alone_at):
        return True
    return any(
        max(later) <= first
        for first, *later in zip(*(alone_at[i:] for i in range(_NO_PROGRESS_DEATHS)), strict=False)
    )
