"""The life of one job, as a pure function: (state, event) → (state, actions).

Nothing else writes a job's state.

QUEUED ⇄ SENT → RUNNING → ENDED     SENT, RUNNING ─the host died─▶ QUEUED or SUSPECT, or ENDED
SUSPECT ─its trial begins─▶ SENT    SENT, RUNNING ─nobody waits, and a host cannot stop it─▶ ABANDONED → ENDED
"""

from enum import StrEnum

import msgspec

from frontend.routing.recovery import (
    Blame,
    Continue,
    Crash,
    GiveUp,
    Progress,
    StartOver,
    Suspicion,
    Undecided,
    Verdict,
    after_death,
)

MAX_DEATHS_WITHOUT_TRIAL = 2


class Phase(StrEnum):
    QUEUED = "queued"  # waits in the frontend for a replica
    SUSPECT = "suspect"  # waits to be tried alone
    SENT = "sent"  # with a host, which has not answered yet
    RUNNING = "running"
    ABANDONED = "abandoned"  # nobody waits for it, but its host is still at work on it
    ENDED = "ended"


class JobState(msgspec.Struct, frozen=True):
    phase: Phase = Phase.QUEUED
    suspicion: Suspicion = Suspicion()
    on_trial: bool = False  # it is alone in a host, to find out whether it kills it
    deaths: int = 0  # of hosts that held it


# --- events ------------------------------------------------------------------------------------------


class Submitted(msgspec.Struct, frozen=True):
    """The API wants it done."""


class Dispatched(msgspec.Struct, frozen=True):
    """It was sent to a host."""

    on_trial: bool = False


class Replied(msgspec.Struct, frozen=True):
    """Its host reported progress up to `point`."""

    point: int
    others_wait: bool = False  # other suspects are still to be tried, and it can make room for them


class Ended(msgspec.Struct, frozen=True):
    """Its host sent the last reply, or an error."""


class Dropped(msgspec.Struct, frozen=True):
    """Nobody waits for it any more."""

    cancellable: bool = True  # a host can stop it


class HostDied(msgspec.Struct, frozen=True):
    """The host that held it is gone."""

    crash: Crash
    progress: Progress
    needs_trial: bool = True  # else it is so little that it is just sent again, a few times


Event = Submitted | Dispatched | Replied | Ended | Dropped | HostDied


# --- actions; the verdicts of recovery.py are actions, too ---------------------------------------------


class Enqueue(msgspec.Struct, frozen=True):
    """Put it into the queue, in its place by arrival."""


class AwaitTrial(msgspec.Struct, frozen=True):
    """Put it among the suspects that are to be tried."""


class Dequeue(msgspec.Struct, frozen=True):
    """Take it out of whichever of the two it waits in."""


class Recall(msgspec.Struct, frozen=True):
    """Take it back from its host, which is to forget it."""


class EndTrial(msgspec.Struct, frozen=True):
    """The room of its trial is free."""


Action = Enqueue | AwaitTrial | Dequeue | Recall | EndTrial | Verdict

_WAITING = (Phase.QUEUED, Phase.SUSPECT)
_replace = msgspec.structs.replace


def advance(state: JobState, event: Event) -> tuple[JobState, list[Action]]:
    """What becomes of a job, and what is to be done about it, in order."""
    if state.phase is Phase.ENDED:
        return state, []
    match event:
        case Submitted():
            return state, [Enqueue()]
        case Dispatched(on_trial):
            return _replace(state, phase=Phase.SENT, on_trial=on_trial), [Dequeue()]
        case Replied():
            return _replied(state, event)
        case Ended():
            return _ended(state), _end_of_trial(state)
        case Dropped(cancellable):
            return _dropped(state, cancellable)
        case HostDied():
            return _host_died(state, event)


def _replied(state: JobState, event: Replied) -> tuple[JobState, list[Action]]:
    """A suspect beyond the point of its host's death is cleared: it joins the others, or, while others are
    still to be tried, makes room for them and is continued later."""
    if state.phase is Phase.ABANDONED:
        return state, []
    running = _replace(state, phase=Phase.RUNNING)
    if not (state.on_trial and state.suspicion.passed_by(event.point)):
        return running, []
    cleared = _replace(running, suspicion=Suspicion(), on_trial=False)
    if not event.others_wait:
        return cleared, [EndTrial()]
    return _replace(cleared, phase=Phase.QUEUED), [EndTrial(), Recall(), Enqueue()]


def _dropped(state: JobState, cancellable: bool) -> tuple[JobState, list[Action]]:
    if state.phase in _WAITING:
        return _ended(state), [Dequeue()]
    if cancellable:
        return _ended(state), [*_end_of_trial(state), Recall()]
    return _replace(state, phase=Phase.ABANDONED), []


def _host_died(state: JobState, event: HostDied) -> tuple[JobState, list[Action]]:
    end = _end_of_trial(state)
    if state.phase is Phase.ABANDONED:
        return _ended(state), end
    if not event.needs_trial:
        return _send_again(state)
    verdict = after_death(event.progress, state.suspicion, event.crash)
    match verdict:
        case Blame() | Undecided() | GiveUp():
            return _ended(state), [*end, verdict]
        case Continue(suspicion) | StartOver(suspicion):
            suspect = suspicion.point is not None
            again = JobState(
                Phase.SUSPECT if suspect else Phase.QUEUED, suspicion, on_trial=False, deaths=state.deaths + 1
            )
            return again, [*end, verdict, AwaitTrial() if suspect else Enqueue()]


def _send_again(state: JobState) -> tuple[JobState, list[Action]]:
    """Without a trial nobody can be blamed, so it is given up after a few deaths whoever caused them."""
    if state.deaths + 1 >= MAX_DEATHS_WITHOUT_TRIAL:
        return _ended(state), [GiveUp()]
    again = _replace(state, phase=Phase.QUEUED, deaths=state.deaths + 1)
    return again, [Continue(Suspicion()), Enqueue()]


def _ended(state: JobState) -> JobState:
    return _replace(state, phase=Phase.ENDED, on_trial=False)


def _end_of_trial(state: JobState) -> list[Action]:
    return [EndTrial()] if state.on_trial else []
