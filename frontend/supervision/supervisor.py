"""Keeps one replica alive: carries out what the lifecycle decides, over successive host incarnations."""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq

from frontend.spool import Spool
from frontend.supervision.announcement import announcement
from frontend.supervision.death import Death
from frontend.supervision.growth import Growth, Leaving, Sample, judge, must_leave
from frontend.supervision.incarnation import ArenaSizes, Ending, Incarnation
from frontend.supervision.lifecycle import (
    Action,
    BecameReady,
    CancelTimer,
    Died,
    Event,
    Kill,
    Leave,
    Lifecycle,
    LoadBegan,
    Recycle,
    RequestCompleted,
    SendDrain,
    Spawn,
    Stalled,
    Start,
    StartTimer,
    State,
    Stop,
    Terminate,
    TimerFired,
    advance,
)
from frontend.supervision.memory import oom_kills, resident_bytes
from frontend.supervision.watchdog import TICK_SECONDS, Stall, Watchdog
from ipc.arena import Lease
from ipc.channel import ChannelError, MessageTooLarge
from ipc.cpu_wait import CpuWait
from ipc.messages import Drain, Fatal, Launch, ModelCard, Ready, ToFrontend, ToHost, Work
from ipc.progress import MEDIA_STEPS, Phase

IDLE_STALL_SECONDS = 5.0  # an idle host beats twice a second

log = logging.getLogger("nacelle.supervision")


class Listener(Protocol):
    """Who is told what a replica does. Called from the event loop, never re-entered."""

    def replica_changed(self, replica: "Supervisor") -> None:
        """Its state is another one."""

    def replica_said(self, replica: "Supervisor", messages: Sequence[ToFrontend]) -> None:
        """Its host sent a frame of messages. Raises ChannelError where one cannot be true."""

    def replica_died(self, replica: "Supervisor", death: Death) -> bool:
        """Its host is gone, with all that it held. Returns whether that counts against the replica."""

    def siblings_of(self, replica: "Supervisor") -> "Sequence[Supervisor]":
        """The other replicas of its model on this machine."""

    def can_move(self, replica: "Supervisor") -> bool:
        """Whether another host can go on with everything that its host holds."""

    def held_by(self, replica: "Supervisor") -> int:
        """How many jobs its host holds."""


class SupervisorOptions(msgspec.Struct, frozen=True):
    """What a replica is started with."""

    launch: Launch[Any]  # without the endpoint
    replica: int
    arenas: ArenaSizes
    drain_seconds: float
    term_seconds: float
    recycle_seconds: float = 0.0  # for which a host that is replaced may finish what cannot be continued
    soft_memory_bytes: int = 0  # a host that is larger is replaced; 0 is no limit
    tuned: bool = False  # the launch holds what `nacelle tune` found


class Supervisor:
    """One replica. `incarnation` is None while no process runs; `card` while no model is loaded."""

    takes_jobs = True

    def __init__(
        self,
        options: SupervisorOptions,
        socket_path: Callable[[str], Path],
        context: "zmq.Context[zmq.Socket[bytes]]",
        listener: Listener,
    ) -> None:
        """`socket_path`: where to bind the socket of a given name, at that moment. Raises OSError."""
        self.options = options
        self.life = Lifecycle()
        self.card: ModelCard | None = None
        self.incarnation: Incarnation | None = None
        self.stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket_path = socket_path
        self._context = context
        self._listener = listener
        self._incarnations = 0
        self._started_with = 0  # incarnations before it was last started
        self._timer: asyncio.TimerHandle | None = None
        self._perform: dict[type[Action], Callable[[Action], None]] = {
            Spawn: lambda _: self._spawn(),
            SendDrain: lambda _: self._send_drain(),
            Terminate: lambda _: self._signal(signal.SIGTERM),
            Kill: lambda _: self._signal(signal.SIGKILL),
            StartTimer: self._start_timer,
            CancelTimer: lambda _: self._cancel_timer(),
        }
        self._fatal: Fatal | None = None
        self._stall: Stall | None = None
        self._killed = False  # an administrator asked for it
        self._gone = asyncio.Event()  # set once its process is gone; each process has its own
        self._spawned_at = 0.0
        self._ready_at = self._recycled_at = 0.0
        self._loaded_bytes = 0  # resident when it became ready
        self._completed = 0  # jobs, since it is ready
        self._warned_of_size = False
        self._last_resident_bytes = 0
        self._oom_kills = 0

    @property
    def model(self) -> str:
        return self.options.launch.model

    @property
    def number(self) -> int:
        return self.options.replica

    @property
    def device(self) -> str:
        return self.options.launch.device

    @property
    def pid(self) -> int | None:
        return self.incarnation.pid if self.incarnation else None

    @property
    def leased_bytes(self) -> int:
        return self.incarnation.arena.leased_bytes if self.incarnation else 0

    @property
    def resident_bytes(self) -> int:
        return resident_bytes(self.incarnation.pid) if self.incarnation else 0

    @property
    def restarts(self) -> int:
        """Since it was last started."""
        return max(0, self._incarnations - self._started_with - 1)

    @property
    def ready(self) -> bool:
        """Whether requests can be sent: from Ready on, until the process is about to be gone."""
        return (
            self.life.state is State.READY
            and self.card is not None
            and self.incarnation is not None
            and not self.incarnation.doomed
        )

    def start(self, launch: Launch[Any] | None = None) -> None:
        """Begin to load, with another launch than the last time if one is given. Nothing happens while it
        runs or drains."""
        if self.life.state not in (State.STOPPED, State.FAILED):
            return
        if launch is not None:
            self.options = msgspec.structs.replace(self.options, launch=launch)
        self._started_with = self._incarnations
        self.stopped.clear()
        self._handle(Start())

    def stop(self) -> None:
        """Begin to drain. `stopped` is set when the process is gone."""
        self._handle(Stop(self.options.drain_seconds, self.options.term_seconds))
        if self.life.state is State.STOPPED:
            self.stopped.set()

    def kill(self) -> None:
        """End its process at once because an administrator asks for it: nothing that it holds is blamed."""
        self._killed = self._killed or (self.incarnation is not None and not self.incarnation.doomed)
        self._signal(signal.SIGKILL)

    async def gone(self) -> None:
        """Return once the process that runs now, if any, is gone and what it held has been cared for."""
        if self.incarnation is not None:
            await self._gone.wait()

    def recycle(self) -> None:
        """Begin to replace its process once that has finished what it has.

        After `drain_seconds` it ends as soon as a new one can go on with the rest, after `recycle_seconds`
        whatever it has.
        """
        self._recycled_at = time.monotonic()
        longest = max(self.options.drain_seconds, self.options.recycle_seconds)
        self._handle(Recycle(longest, self.options.term_seconds))

    def send(self, message: ToHost) -> None:
        """Never raises: a host that does not read is killed, and whoever is dead is told about soon."""
        if self.incarnation is not None:
            try:
                self.incarnation.send(message)
            except ChannelError as error:
                self.incarnation.condemn(str(error))

    def _send_drain(self) -> None:
        """A host that was not ready has nothing to finish, and may not have connected yet."""
        if self.card is not None or self.incarnation is None:  # its state is no longer READY here
            self.send(Drain())
            return
        try:
            self.incarnation.send(Drain())
        except ChannelError:
            self.incarnation.signal(signal.SIGKILL)

    def lease(self, body: bytes | Spool) -> Lease | None:
        """Put a payload into the request arena, or reserve the room for an upload; None: no room now."""
        return self.incarnation.lease(body) if self.incarnation else None

    def upload(self, work: Work, spool: Spool, is_wanted: Callable[[], bool]) -> None:
        """Copy an upload into the lease that is the work's payload, and send the work then."""
        if self.incarnation is not None:
            self.incarnation.upload(work, spool, is_wanted, self.send)

    def completed(self) -> None:
        """Its host did useful work: earlier deaths no longer count."""
        self._completed += 1
        self._handle(RequestCompleted())

    # --- events in ---

    def _handle(self, event: Event) -> None:
        before = self.life.state
        self.life, actions = advance(self.life, event)
        if self.life.state is not before:
            log.debug("%s/%d is %s", self.model, self.number, self.life.state)
        for action in actions:
            self._perform[type(action)](action)
        if self.life.state is not before:
            self._listener.replica_changed(self)

    def _messages(self, messages: Sequence[ToFrontend]) -> None:
        if type(messages[0]) in (Ready, Fatal):
            self._own_message(messages[0])
        if len(messages) > 1 and any(type(message) in (Ready, Fatal) for message in messages):
            raise ChannelError("a Ready or Fatal comes alone")
        self._listener.replica_said(self, messages)

    def _own_message(self, message: ToFrontend) -> None:
        match message:
            case Ready(card):
                self.card = card
                details = announcement(card, self.options.launch, tuned=self.options.tuned)
                log.info("%s/%d is ready on %s", self.model, self.number, details)
                self._ready_at, self._loaded_bytes = time.monotonic(), self.resident_bytes
                self._handle(BecameReady())
            case Fatal():
                self._fatal = message
                for line in message.detail.splitlines():
                    log.debug("%s", line, extra={"host": f"{self.model}[{self.pid}]"})

    def _ended(self, ending: Ending) -> None:
        assert self.incarnation is not None
        gone = self._gone  # before the next process starts
        killed = self._killed and ending.status == -signal.SIGKILL
        death = Death(
            model=self.model,
            replica=self.number,
            device=self.options.launch.device,
            pid=self.incarnation.pid,
            phase=ending.phase.name.lower(),
            expected=self.life.state is State.DRAINING,
            killed=killed,
            seconds=time.monotonic() - self._spawned_at,
            exit_code=ending.status if ending.status >= 0 else None,
            signal=-ending.status if ending.status < 0 else None,
            stalled=self._stall is not None,
            starved=self._stall is Stall.STARVED or (self._fatal is not None and self._fatal.starved),
            condemned=ending.condemned,
            out_of_memory=ending.status == -signal.SIGKILL and not killed and oom_kills() > self._oom_kills,
            fatal=self._fatal.reason if self._fatal else None,
            permanent=self._fatal is not None and self._fatal.permanent,
            memory_bytes=self._last_resident_bytes,
            stderr_tail=ending.stderr_tail,
        )
        self.incarnation = None
        self.card = None
        counted = self._listener.replica_died(self, death)
        chance = random.random()  # noqa: S311  jitter
        self._handle(Died(death.summary, chance, counted, death.permanent))
        gone.set()
        if self.life.state is State.STOPPED:
            self.stopped.set()

    def _tick(self, incarnation: Incarnation, watchdog: Watchdog, last: float) -> None:
        if incarnation is not self.incarnation:
            return
        now = time.monotonic()
        progress = incarnation.progress()
        if progress is not None and progress.phase is Phase.LOADING:
            self._handle(LoadBegan())
        if stall := watchdog.stalled(progress, now - last):
            self._stall = self._stall or stall
            self._handle(Stalled())
        self._oom_kills = oom_kills()
        self.watch_size(now)
        self._loop.call_later(TICK_SECONDS, self._tick, incarnation, watchdog, now)

    def watch_size(self, now: float) -> None:
        """Replace a host that has grown too large, and end one that is being replaced when it must leave.
        `now` is in seconds on the monotonic clock."""
        self._last_resident_bytes = self.resident_bytes or self._last_resident_bytes
        limit = self.options.soft_memory_bytes
        if self.life.recycling:
            can_move = not self.life.leaving and self._listener.can_move(self)
            leaving = Leaving(
                size=self._last_resident_bytes,
                loaded_size=self._loaded_bytes,
                seconds=now - self._recycled_at,
                can_move=can_move,
                held=self._listener.held_by(self),
                ended=self._completed,
            )
            if must_leave(leaving, limit, self.options.drain_seconds):
                self._handle(Leave())
        elif limit and self.ready:
            match judge(self._sample(now), limit):
                case Growth.REPLACE:
                    log.info(
                        "%s/%d uses %s, its limit is %s: it finishes what it has and is replaced",
                        self.model,
                        self.number,
                        _mib(self._last_resident_bytes),
                        _mib(limit),
                    )
                    self.recycle()
                case Growth.FUTILE:
                    self._warn_of_size(limit)

    def _sample(self, now: float) -> Sample:
        siblings = self._listener.siblings_of(self)
        return Sample(
            size=self._last_resident_bytes,
            loaded_size=self._loaded_bytes,
            ready_seconds=now - self._ready_at,
            load_seconds=self._ready_at - self._spawned_at,
            has_worked=self._completed > 0,
            has_siblings=bool(siblings),
            is_turn=not any(sibling.life.returns for sibling in siblings),
        )

    def _warn_of_size(self, limit: int) -> None:
        if not self._warned_of_size:
            self._warned_of_size = True
            log.warning(
                "%s/%d uses %s, of which it took %s when it was loaded, but its limit is %s: a new engine "
                "process would soon be as large, so that it is not replaced yet; raise soft_memory_gib of %s",
                self.model,
                self.number,
                _mib(self._last_resident_bytes),
                _mib(self._loaded_bytes),
                _mib(limit),
                self.model,
            )

    # --- actions out ---

    def _spawn(self) -> None:
        self._incarnations += 1
        self._fatal = self._stall = None
        self._killed = False
        self._gone = asyncio.Event()
        self._last_resident_bytes = self._loaded_bytes = 0
        self._completed = 0
        self._spawned_at, self._oom_kills = time.monotonic(), oom_kills()
        launch = self.options.launch
        name = f"{id(self):x}-{self._incarnations}"
        try:
            self.incarnation = Incarnation(
                launch,
                self._socket_path(name),
                self.options.arenas,
                self._context,
                self._messages,
                self._ended,
            )
        except (OSError, ChannelError) as error:
            reason = f"{self.model} cannot be started: {error}"
            log.warning("%s", reason)
            permanent = isinstance(error, MessageTooLarge)
            self._loop.call_soon(self._handle, Died(reason, permanent=permanent))
            return
        caps = {
            Phase.STARTING: launch.load_seconds,
            Phase.LOADING: launch.load_seconds,
            Phase.IDLE: IDLE_STALL_SECONDS,
            Phase.STEP: launch.stall_seconds,
            Phase.MEDIA: launch.stall_seconds * MEDIA_STEPS,
        }
        watchdog = Watchdog(caps, CpuWait(self.incarnation.pid).since_last)
        self._loop.call_later(TICK_SECONDS, self._tick, self.incarnation, watchdog, time.monotonic())

    def _signal(self, number: int) -> None:
        if self.incarnation is not None:
            self.incarnation.signal(number)

    def _start_timer(self, action: Action) -> None:
        assert isinstance(action, StartTimer)
        self._cancel_timer()
        self._timer = self._loop.call_later(action.seconds, self._handle, TimerFired(action.timer))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
