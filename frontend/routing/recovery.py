"""What becomes of a sequence whose host died: pure decisions over plain data.

A sequence in flight at a crash is a suspect. Suspects are tried alone, one at a time, until each has
passed the point where its host died. The point is the number of tokens generated over all incarnations;
0 is prefill. Who kills hosts alone and gets no further is blamed.
"""

import msgspec

from frontend.routing.journal import Journal
from ipc.continuation import Continuation, continuation
from ipc.messages import Sampling

_SAME_POINT_DEATHS = 2  # alone, at one point
_NO_PROGRESS_DEATHS = 3  # alone, none of them further than the first


class Suspicion(msgspec.Struct, frozen=True):
    """What is held against one sequence."""

    point: int | None = None  # where its host last died; None while it is no suspect
    alone_at: tuple[int, ...] = ()  # the points of deaths with it alone

    def passed_by(self, tokens: int) -> bool:
        """Whether `tokens` generated tokens are beyond the point of death."""
        return self.point is not None and tokens > self.point


class Crash(msgspec.Struct, frozen=True):
    """A host's death as one of its sequences sees it."""

    implicates: bool  # false for a SIGKILL from outside
    alone: bool  # no other sequence was in the host


class Continue(msgspec.Struct, frozen=True):
    """Send it to a host again, with the tokens it already has; the host goes on from there, or generates
    them again and compares where the next token depends on more than the text so far."""

    suspicion: Suspicion
    by_replay: bool = False


class StartOver(msgspec.Struct, frozen=True):
    """Send it again as if nothing had come of it; what came before is taken back."""

    suspicion: Suspicion


class Blame(msgspec.Struct, frozen=True):
    """It kills hosts: end it, and refuse its like for a while."""


class GiveUp(msgspec.Struct, frozen=True):
    """It is innocent, but what its client has seen cannot be produced again."""


Verdict = Continue | StartOver | Blame | GiveUp


def after_death(journal: Journal, streaming: bool, suspicion: Suspicion, crash: Crash) -> Verdict:
    """What to do with a sequence that was in a host when it died.

    `streaming` says that the client sees tokens as they come, so that none can be taken back.
    """
    point = len(journal.token_ids)
    if crash.implicates:
        alone_at = (*suspicion.alone_at, point) if crash.alone else suspicion.alone_at
        if _guilty(alone_at):
            return Blame()
        suspicion = Suspicion(point, alone_at)
    how = _continuation(journal.sampling)
    if how is Continuation.BY_TEXT or not point:
        return Continue(suspicion)
    if not streaming:
        return StartOver(suspicion)
    return Continue(suspicion, by_replay=True) if how is Continuation.BY_REPLAY else GiveUp()


def _continuation(sampling: Sampling) -> Continuation:
    return continuation(
        greedy=sampling.temperature == 0,  # a model's default may be greedy too, which only its host knows
        seeded=sampling.seed is not None,
        presence_penalty=sampling.presence_penalty or 0.0,
        frequency_penalty=sampling.frequency_penalty or 0.0,
        grammar=bool(sampling.grammar),
    )


def _guilty(alone_at: tuple[int, ...]) -> bool:
    if any(alone_at.count(point) >= _SAME_POINT_DEATHS for point in alone_at):
        return True
    return any(
        max(later) <= first
        for first, *later in zip(*(alone_at[i:] for i in range(_NO_PROGRESS_DEATHS)), strict=False)
    )
