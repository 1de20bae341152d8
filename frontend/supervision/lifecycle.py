"""The life of one replica, as a pure function: (lifecycle, event) → (lifecycle, actions).

STARTING → LOADING → READY → DRAINING → STOPPED    any of the first three ─death─▶ BACKOFF → STARTING
        MAX_DEATHS with nothing done between, or a permanent one ─▶ FAILED ─a while later─▶ STARTING
        STOPPED, FAILED ─wanted again─▶ STARTING
"""

from enum import StrEnum

import msgspec

MAX_DEATHS = 5
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 30.0
BACKOFF_JITTER = 0.25  # the share of a delay that chance may add
HALF_OPEN_SECONDS = 60.0


class State(StrEnum):
    STARTING = "starting"  # the process exists and imports
    LOADING = "loading"  # the model is being read and compiled
    READY = "ready"
    DRAINING = "draining"  # told to finish; nothing new is sent
    STOPPED = "stopped"
    BACKOFF = "backoff"  # dead; waiting for the next try
    FAILED = "failed"  # dead too often, or for good; tried again after HALF_OPEN_SECONDS


class Timer(StrEnum):
    """A replica runs one timer at most; starting one replaces the other."""

    BACKOFF = "backoff"
    HALF_OPEN = "half_open"
    DRAIN = "drain"
    TERM = "term"


# --- events ------------------------------------------------------------------------------------------


class Start(msgspec.Struct, frozen=True):
    """The replica is wanted: now, also if it failed before. Earlier deaths no longer count."""


class LoadBegan(msgspec.Struct, frozen=True):
    """The host has its launch message and reads the model."""


class BecameReady(msgspec.Struct, frozen=True):
    """The host said Ready."""


class RequestCompleted(msgspec.Struct, frozen=True):
    """The host did useful work: earlier deaths no longer count."""


class Stalled(msgspec.Struct, frozen=True):
    """The progress page is past its deadline."""


class Died(msgspec.Struct, frozen=True):
    """The process is gone, or could not be spawned. `chance` in [0, 1) spreads simultaneous restarts.

    A death that is expected, as while a suspect is tried alone, is not `counted`. A `permanent` one would
    only repeat itself, as with a damaged file or a device that this machine does not have: a replica that was
    never ready fails at once. Like any that has failed, it gets one try every HALF_OPEN_SECONDS, because the
    file or the driver may have been repaired.
    """

    reason: str
    chance: float = 0.0
    counted: bool = True
    permanent: bool = False


class TimerFired(msgspec.Struct, frozen=True):
    timer: Timer


class Stop(msgspec.Struct, frozen=True):
    """The replica is no longer wanted. Budgets in seconds."""

    drain_seconds: float
    term_seconds: float


class Recycle(msgspec.Struct, frozen=True):
    """A new host is wanted, as this one has grown too large or somebody asks: once it has finished what it
    has."""

    drain_seconds: float
    term_seconds: float


class Leave(msgspec.Struct, frozen=True):
    """A host that is being recycled is to end now: what it has can be continued in the new one."""


Event = (
    Start | LoadBegan | BecameReady | RequestCompleted | Stalled | Died | TimerFired | Stop | Recycle | Leave
)


# --- actions -----------------------------------------------------------------------------------------


class Spawn(msgspec.Struct, frozen=True):
    """Start a new host incarnation."""


class SendDrain(msgspec.Struct, frozen=True):
    """Ask the host to finish and exit."""


class Terminate(msgspec.Struct, frozen=True):
    """SIGTERM: a host that drains leaves at once."""


class Kill(msgspec.Struct, frozen=True):
    """SIGKILL."""


class StartTimer(msgspec.Struct, frozen=True):
    timer: Timer
    seconds: float


class CancelTimer(msgspec.Struct, frozen=True):
    """Stop whatever timer runs."""


Action = Spawn | SendDrain | Terminate | Kill | StartTimer | CancelTimer


class Lifecycle(msgspec.Struct, frozen=True):
    """Where a replica is. `deaths` counts those since a request last completed."""

    state: State = State.STOPPED
    deaths: int = 0
    reason: str | None = None  # of the latest death
    term_seconds: float = 0.0  # while DRAINING
    recycling: bool = False  # while DRAINING: to be started again
    leaving: bool = False  # while recycling: it was told to end now
    was_ready: bool = False  # since it was last started, so that its settings and files were good then

    @property
    def stopping(self) -> bool:
        return self.state is State.DRAINING and not self.recycling

    @property
    def returns(self) -> bool:
        """Whether it serves nothing now, but is about to."""
        return self.recycling or self.state in (State.STARTING, State.LOADING, State.BACKOFF)

    @property
    def alive(self) -> bool:
        return self.state in (State.STARTING, State.LOADING, State.READY, State.DRAINING)


def backoff_seconds(deaths: int, chance: float) -> float:
    """How long to wait before restart number `deaths`: the first is immediate, then doubling with jitter."""
    if deaths <= 1:
        return 0.0
    delay: float = min(BACKOFF_FIRST_SECONDS * 2 ** (deaths - 2), BACKOFF_LIMIT_SECONDS)
    return delay * (1 + BACKOFF_JITTER * chance)


def advance(life: Lifecycle, event: Event) -> tuple[Lifecycle, list[Action]]:
    """What follows from `event`. Events that make no sense in a state change nothing."""
    match event:
        case Start() if life.state in (State.STOPPED, State.FAILED):
            was_failed = life.state is State.FAILED
            return Lifecycle(State.STARTING), [*([CancelTimer()] if was_failed else []), Spawn()]
        case LoadBegan() if life.state is State.STARTING:
            return msgspec.structs.replace(life, state=State.LOADING), []
        case BecameReady() if life.state in (State.STARTING, State.LOADING):
            return msgspec.structs.replace(life, state=State.READY, was_ready=True), []
        case RequestCompleted() if life.deaths:
            return msgspec.structs.replace(life, deaths=0), []
        case Stalled() if life.alive:
            return life, [Kill()]
        case Died() if life.alive:
            return _died(life, event)
        case TimerFired():
            return _timer_fired(life, event.timer)
        case Recycle() | Leave():
            return _recycle(life, event)
        case Stop():
            return _stop(life, event)
    return life, []


def _died(life: Lifecycle, event: Died) -> tuple[Lifecycle, list[Action]]:
    if life.stopping:
        return msgspec.structs.replace(life, state=State.STOPPED), [CancelTimer()]
    again = Lifecycle(State.STARTING, life.deaths, event.reason, was_ready=life.was_ready)
    repairable = life.was_ready or not event.permanent
    if repairable and (life.recycling or not event.counted):
        return again, [CancelTimer(), Spawn()]
    again = msgspec.structs.replace(again, deaths=life.deaths + 1)
    if again.deaths >= MAX_DEATHS or not repairable:
        failed = msgspec.structs.replace(again, state=State.FAILED)
        return failed, [StartTimer(Timer.HALF_OPEN, HALF_OPEN_SECONDS)]
    delay = backoff_seconds(again.deaths, event.chance)
    if delay == 0:
        return again, [Spawn()]
    return msgspec.structs.replace(again, state=State.BACKOFF), [StartTimer(Timer.BACKOFF, delay)]


def _timer_fired(life: Lifecycle, timer: Timer) -> tuple[Lifecycle, list[Action]]:
    match timer, life.state:
        case Timer.BACKOFF, State.BACKOFF:
            return msgspec.structs.replace(life, state=State.STARTING), [Spawn()]
        case Timer.HALF_OPEN, State.FAILED:
            # One try: a further death opens the breaker again at once.
            return msgspec.structs.replace(life, state=State.STARTING, deaths=MAX_DEATHS - 1), [Spawn()]
        case Timer.DRAIN, State.DRAINING:
            return life, [Terminate(), StartTimer(Timer.TERM, life.term_seconds)]
        case Timer.TERM, State.DRAINING:
            return life, [Kill()]
    return life, []


def _drain(life: Lifecycle, event: Stop | Recycle, recycling: bool = False) -> tuple[Lifecycle, list[Action]]:
    draining = msgspec.structs.replace(
        life, state=State.DRAINING, term_seconds=event.term_seconds, recycling=recycling
    )
    return draining, [SendDrain(), StartTimer(Timer.DRAIN, event.drain_seconds)]


def _recycle(life: Lifecycle, event: Recycle | Leave) -> tuple[Lifecycle, list[Action]]:
    if isinstance(event, Recycle):
        return _drain(life, event, recycling=True) if life.state is State.READY else (life, [])
    if not life.recycling or life.leaving:
        return life, []
    leaving = msgspec.structs.replace(life, leaving=True)
    return leaving, [Terminate(), StartTimer(Timer.TERM, life.term_seconds)]


def _stop(life: Lifecycle, event: Stop) -> tuple[Lifecycle, list[Action]]:
    match life.state:
        case State.READY:
            return _drain(life, event)
        case State.DRAINING:
            stopping = msgspec.structs.replace(life, recycling=False, term_seconds=event.term_seconds)
            # A host that is recycled may take longer than a shutdown waits.
            waits = life.recycling and not life.leaving
            return stopping, [StartTimer(Timer.DRAIN, event.drain_seconds)] if waits else []
        case State.STARTING | State.LOADING:
            # Nothing to finish: a host that loads has no requests.
            draining = msgspec.structs.replace(life, state=State.DRAINING, term_seconds=event.term_seconds)
            return draining, [SendDrain(), Terminate(), StartTimer(Timer.TERM, event.term_seconds)]
        case State.BACKOFF | State.FAILED:
            return msgspec.structs.replace(life, state=State.STOPPED), [CancelTimer()]
    return life, []
