"""A replica on another server. The router sends jobs to it as to a host on this machine; if the connection is
lost, that is a death for which no job is to blame.

A server that takes no work (another program, or another version of Nacelle) is used through its OpenAI API
instead, see `proxying.py`: then the replica takes no jobs, and its state is that of its health check.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from frontend.errors import ServerError
from frontend.remote.backend import Backend
from frontend.remote.failures import error_of, may_go_elsewhere
from frontend.remote.wire import FromPeer, Leaving, Rejected
from frontend.spool import Spool
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import (
    Action,
    BecameReady,
    CancelTimer,
    Died,
    Event,
    Kill,
    Lifecycle,
    LoadBegan,
    Recycle,
    RequestCompleted,
    SendDrain,
    Spawn,
    Start,
    StartTimer,
    State,
    Stop,
    Terminate,
    Timer,
    TimerFired,
    advance,
)
from ipc.channel import ChannelError
from ipc.lease import Lease
from ipc.messages import Cancel, Failed, Fatal, ModelCard, Ready, Release, Reply, ToHost, Work

if TYPE_CHECKING:
    from frontend.remote.http_backend import HttpBackend

RETRY_SECONDS = 5.0  # the longest time between attempts to connect: a restarted server is soon used again
_PATIENCE = 5  # times longer than between restarts of a host here: another server takes longer to restart
_BUSY_SECONDS = 1.0  # for which a server that rejected work gets none, unless it said for how long

log = logging.getLogger("nacelle.remote")


class Listener(Protocol):
    """As supervision's, and what only remote replicas report."""

    def replica_changed(self, replica: Any) -> None: ...

    def replica_said(self, replica: Any, messages: Sequence[Any]) -> None: ...

    def replica_died(self, replica: Any, death: Death) -> bool: ...

    def replica_rejected(self, replica: Any, request_id: int, error: ServerError, *, elsewhere: bool) -> None:
        """It does not do the work of this request; `elsewhere`: another replica may."""


class Link(Protocol):
    """What carries the work: a connection, as in connection.py."""

    def send(self, message: ToHost) -> None: ...

    def send_body(self, work: Work, body: bytes | Spool, sent: Callable[[], None]) -> None: ...

    def close(self, why: Exception) -> None: ...


class RemoteHost:
    """One replica. `card` is None while there is no connection, and where the server takes no work."""

    device: str
    pid = None
    leased_bytes = resident_bytes = 0

    def __init__(
        self,
        backend: Backend,
        model: str,
        number: int,
        room_bytes: int,
        drain_seconds: float,
        listener: Listener,
        check_card: Callable[[ModelCard], str | None] = lambda _: None,
    ) -> None:
        """`room_bytes`: of large payloads on their way at a time. `check_card` says why a peer's model cannot
        be a replica of this one."""
        self.backend = backend
        self.model = model
        self.number = number
        self.device = backend.name
        self.life = Lifecycle()
        self.card: ModelCard | None = None
        self.takes_jobs = True
        self.stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._check_card = check_card
        self._room_bytes = room_bytes
        self._drain_seconds = drain_seconds
        self._link: Link | None = None
        self._connected_at = 0.0
        self._connections = 0
        self._requests: set[int] = set()  # that the peer holds
        self._slots = itertools.count(1)
        self._bodies: dict[int, bytes | Spool] = {}  # large payloads, by the slot of a lease on nothing
        self._on_way = 0  # bytes of large payloads
        self._busy: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fatal: str | None = None
        self._last_reason = ""  # of a lost connection
        self._closing: asyncio.Task[None] | None = None
        self.http: HttpBackend | None = None  # of a server that takes no work
        self._perform: dict[type[Action], Callable[[Any], None]] = {
            Spawn: lambda _: self._connect(),
            SendDrain: lambda _: self._leave_if_idle(),
            Terminate: lambda _: self._hang_up("it was stopped"),
            Kill: lambda _: self._hang_up("it was stopped"),
            StartTimer: self._start_timer,
            CancelTimer: lambda _: self._cancel_timer(),
        }

    @property
    def ready(self) -> bool:
        """Whether requests can be sent."""
        has_card = self.card is not None and self._link is not None
        return has_card and self.life.state is State.READY and self._busy is None

    @property
    def restarts(self) -> int:
        return max(0, self._connections - 1)

    def start(self) -> None:
        self._handle(Start())

    def stop(self) -> None:
        """Finish what the peer still does, then disconnect. `stopped` is set then."""
        if self.http is not None:
            self._closing = asyncio.create_task(self.http.close(self._drain_seconds))
        self._handle(Stop(self._drain_seconds, 0.0))
        if self.life.state is State.STOPPED:
            self.stopped.set()

    # --- work ---

    def send(self, message: ToHost) -> None:
        link = self._link
        if link is None:
            return
        if isinstance(message, Work):
            self._requests.add(message.request_id)
            if isinstance(message.payload, Lease):
                self._send_large(link, message, self._bodies.pop(message.payload.slot))
                return
        elif isinstance(message, Cancel):
            self._requests.discard(message.request_id)
        link.send(message)
        self._leave_if_draining()

    def lease(self, body: bytes | Spool) -> Lease | None:
        """Room for a large payload on the way to the peer; None: others take it now."""
        size = len(body)
        if self._on_way and self._on_way + size > self._room_bytes:
            return None
        slot = next(self._slots)
        self._bodies[slot] = body
        self._on_way += size
        return Lease(slot, 0, 0, size)

    def upload(self, work: Work, _spool: Spool, _is_wanted: Callable[[], bool]) -> None:
        """It is known by its lease, and stopped by a Cancel once nobody wants it any more."""
        self.send(work)

    def _send_large(self, link: Link, work: Work, body: bytes | Spool) -> None:
        size = len(body)

        def sent() -> None:
            if link is self._link:  # else the room was given back with the connection
                self._on_way -= size
                self._listener.replica_said(self, [Release(0, 0)])  # there is room

        link.send_body(work, body, sent)

    def completed(self) -> None:
        """It did useful work: earlier deaths no longer count."""
        self._handle(RequestCompleted())

    # --- events in ---

    def _handle(self, event: Event) -> None:
        before = self.life.state
        self.life, actions = advance(self.life, event)
        if self.life.state is not before:
            log.debug("%s/%d at %s is %s", self.model, self.number, self.device, self.life.state)
        for action in actions:
            self._perform[type(action)](action)
        if self.life.state is not before:
            self._listener.replica_changed(self)

    def _greeted(self) -> None:
        self._handle(LoadBegan())

    def _messages(self, messages: Sequence[FromPeer]) -> None:
        """Raises ChannelError where a message cannot be true."""
        if self._link is None:
            return
        for message in messages:
            self._note(message)
        usual = [message for message in messages if not isinstance(message, Rejected | Leaving)]
        if usual:
            self._listener.replica_said(self, usual)
        self._leave_if_draining()

    def _note(self, message: FromPeer) -> None:
        match message:
            case Ready(card):
                self._became_ready(card)
            case Fatal(reason):
                self._fatal = reason
            case Rejected():
                self._rejected(message)
            case Leaving():
                self._handle(Recycle(self._drain_seconds, 0.0))
            case Failed(request_id):
                self._requests.discard(request_id)
            case Reply() if message.ends:
                self._requests.discard(message.request_id)

    def _became_ready(self, card: ModelCard) -> None:
        if (why := self._check_card(card)) is not None:
            raise ChannelError(why)
        self.card = card
        self.takes_jobs = True
        log.info(
            "%s/%d is ready at %s: %s, %d slots",
            self.model,
            self.number,
            self.device,
            card.device_name,
            card.slots,
        )
        self._handle(BecameReady())

    def _rejected(self, message: Rejected) -> None:
        self._requests.discard(message.request_id)
        error = error_of(message, self.device)
        elsewhere = may_go_elsewhere(error)
        if elsewhere and self._busy is None:
            seconds = min(error.retry_after or _BUSY_SECONDS, RETRY_SECONDS)
            self._busy = self._loop.call_later(seconds, self._no_longer_busy)
        self._listener.replica_rejected(self, message.request_id, error, elsewhere=elsewhere)

    def _no_longer_busy(self) -> None:
        self._busy = None
        self._listener.replica_changed(self)

    def _ended(self, link: Link, error: Exception) -> None:
        from frontend.remote.client import words_of
        from frontend.remote.connection import NotANacelle

        if link is not self._link:
            return
        if isinstance(error, NotANacelle) and not self.life.stopping:
            self._link = None
            self._use_http(error)
            return
        reason = self._fatal or words_of(error)
        was_ready = self.card is not None
        death = Death(
            model=self.model,
            replica=self.number,
            device=self.device,
            pid=0,
            phase=self.life.state.value,
            expected=self.life.state is State.DRAINING,
            seconds=time.monotonic() - self._connected_at,
            permanent=not was_ready and reason == self._last_reason,  # reported before
            lost=reason,
        )
        self._last_reason = reason
        self._link = self.card = None
        self._requests.clear()
        self._bodies.clear()
        self._on_way = 0
        self._fatal = None
        counted = self._listener.replica_died(self, death)
        chance = random.random()  # noqa: S311  jitter
        self._handle(Died(death.summary, chance, counted))
        if self.life.state is State.STOPPED:
            self.stopped.set()

    def _use_http(self, reason: Exception) -> None:
        """The server takes no work: ask it over HTTP, if it is healthy."""
        from frontend.remote.http_backend import HttpBackend

        if self.takes_jobs:
            log.warning("%s/%d uses the OpenAI API of %s: %s", self.model, self.number, self.device, reason)
        self.takes_jobs = False
        self._listener.replica_changed(self)
        if self.http is None:
            self.http = HttpBackend(self.backend, self._healthy, self._unhealthy)
        self.http.start()

    def _healthy(self) -> None:
        self._handle(RequestCompleted())
        if self.life.state is not State.READY:
            log.info("%s/%d is ready at %s", self.model, self.number, self.device)
        self._handle(BecameReady())

    def _unhealthy(self, reason: str) -> None:
        """When it answers again, it may be another program: that is found out first."""
        if self.life.state is State.READY:
            log.warning("%s/%d at %s: %s", self.model, self.number, self.device, reason)
        self._handle(Died(f"{self.model} at {self.device}: {reason}", random.random()))  # noqa: S311  jitter

    # --- actions out ---

    def _connect(self) -> None:
        from frontend.remote.connection import Connection  # which imports aiohttp

        self._connections += 1
        self._connected_at = time.monotonic()
        link: Connection | None = None

        def ended(error: Exception) -> None:
            if link is not None:
                self._ended(link, error)

        link = Connection(self.backend, self._greeted, self._messages, ended)
        self._link = link

    def _hang_up(self, why: str) -> None:
        if self._link is not None:
            self._link.close(ConnectionError(why))
        elif self.life.stopping:  # proxied
            self._loop.call_soon(self._stopped_without_link)

    def _stopped_without_link(self) -> None:
        self._handle(Died("it was stopped"))
        if self.life.state is State.STOPPED:
            self.stopped.set()

    def _leave_if_idle(self) -> None:
        if not self._requests:
            self._hang_up("it was stopped")

    def _leave_if_draining(self) -> None:
        if self.life.state is State.DRAINING:
            self._leave_if_idle()

    def _start_timer(self, action: StartTimer) -> None:
        self._cancel_timer()
        retries = action.timer in (Timer.BACKOFF, Timer.HALF_OPEN)
        seconds = min(action.seconds * _PATIENCE, RETRY_SECONDS) if retries else action.seconds
        self._timer = self._loop.call_later(seconds, self._handle, TimerFired(action.timer))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
