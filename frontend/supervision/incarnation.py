"""One host process from spawn to burial: its socket, arenas, progress page, stderr and pidfd."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import zmq

from frontend.spool import Spool
from frontend.supervision.process import HostProcess
from frontend.supervision.stderr import StderrTail
from ipc.arena import ArenaConsumer, ArenaProducer, Lease, LeaseError
from ipc.channel import ChannelError, bind
from ipc.errors import ErrorCode, RequestError
from ipc.memfd import create_sealed
from ipc.messages import Failed, Launch, Produced, Release, ToFrontend, ToHost, Work
from ipc.progress import PAGE_BYTES, Phase, Progress, ProgressReader

_MESSAGES_PER_TURN = 256  # so that one busy host leaves the event loop to the others
_LAST_WORDS_SECONDS = 0.02  # how long the socket's I/O thread may still deliver after the death

_NOT_COPIED = RequestError(ErrorCode.ENGINE_FAILED, "the upload could not be handed to the model's process")

log = logging.getLogger("nacelle.supervision")


class ArenaSizes(NamedTuple):
    """In bytes."""

    request: int
    result: int


class Ending(msgspec.Struct, frozen=True):
    """How the process ended: as `subprocess` counts, ≥ 0 an exit status, < 0 minus a signal."""

    status: int
    phase: Phase
    condemned: str | None  # why we killed it ourselves, where we did
    stderr_tail: tuple[str, ...]


class Incarnation:
    """Calls `on_messages` for each frame the host sends and `on_end` once, after its last message."""

    def __init__(
        self,
        launch: Launch[Any],
        socket_path: Path,
        arenas: ArenaSizes,
        context: "zmq.Context[zmq.Socket[bytes]]",
        on_messages: Callable[[Sequence[ToFrontend]], None],
        on_end: Callable[[Ending], None],
    ) -> None:
        """Spawn the host. Raises OSError or ChannelError, and leaves nothing open then."""
        self._loop = asyncio.get_running_loop()
        self._on_messages = on_messages
        self._on_end = on_end
        self._turn_scheduled = False
        self._open = True
        self._shared: dict[bytes, Lease] = {}  # payloads that are in the request arena
        self.doomed = False  # it is dead or was sent SIGKILL, and will be buried in a moment
        self._condemned: str | None = None
        with ExitStack() as undo:
            page = create_sealed("nacelle-progress", PAGE_BYTES)
            undo.callback(os.close, page)  # in any case: both sides hold mappings of their own
            self._progress = ProgressReader(page)
            with ExitStack() as on_failure:
                self.arena = ArenaProducer("nacelle-request", arenas.request)
                on_failure.callback(self.arena.close)
                self._channel = bind(context, str(socket_path))
                on_failure.callback(self._channel.close)
                launch = msgspec.structs.replace(launch, endpoint=f"ipc://{socket_path}")
                results = create_sealed("nacelle-result", arenas.result)
                undo.callback(os.close, results)
                self._results = ArenaConsumer(results)
                on_failure.callback(self._results.close)
                self._process = HostProcess(launch, self.arena.fd, results, page)
                on_failure.callback(self._process.abandon)
                self.pid = self._process.pid
                self._stderr = StderrTail(self._process.stderr.fileno(), f"{launch.model}[{self.pid}]")
                self._watch(self._process.stderr.fileno(), self._read_stderr, on_failure)
                self._watch(self._process.pidfd, self._process_ended, on_failure)
                self._watch(self._channel.fileno(), self._receive, on_failure)
                on_failure.pop_all()

    def send(self, message: ToHost) -> None:
        """Raises ChannelError if the host has stopped reading."""
        self._channel.send([message])
        self._schedule_turn()  # sending may have swallowed the edge of the descriptor

    def lease(self, body: bytes | Spool) -> Lease | None:
        """Put a payload into the request arena, once for all jobs that share it, or only reserve the room
        for an upload; None: no room now."""
        if isinstance(body, Spool):
            return self.arena.lease(len(body))
        lease = self._shared.get(body)
        if lease is not None:
            self.arena.share(lease)
            return lease
        lease = self.arena.lease(len(body))
        if lease is not None:
            self.arena.write(lease, body)
            self._shared[body] = lease
        return lease

    def upload(
        self, work: Work, spool: Spool, is_wanted: Callable[[], bool], send: Callable[[Work], None]
    ) -> None:
        """Copy an upload into the lease that is the work's payload, in a thread, and `send` the work then,
        unless nobody wants it any more."""
        lease = cast(Lease, work.payload)
        source = os.dup(spool.fd)  # the upload may be closed before the copy ends

        def ended(copy: "asyncio.Future[None]") -> None:
            os.close(source)
            if not self._open:  # dead: its requests go elsewhere
                return
            if is_wanted() and copy.exception() is None:
                send(work)
                return
            if copy.exception() is not None:
                log.error("an upload could not be copied: %r", copy.exception())
                self._on_messages([Failed(work.request_id, _NOT_COPIED)])
            release = Release(lease.slot, lease.generation)
            self._released(release)
            self._on_messages([release])

        copy = self._loop.run_in_executor(None, self.arena.write_from, lease, source, lease.size)
        copy.add_done_callback(ended)

    def condemn(self, why: str) -> None:
        """Kill a host that cannot be trusted with anything else."""
        if self._condemned is None:
            log.error("host %d is killed: %s", self.pid, why)
            self._condemned = why
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        self.doomed = self.doomed or number == signal.SIGKILL
        self._process.signal(number)

    def progress(self) -> Progress | None:
        return self._progress.read()

    def _watch(self, fd: int, readable: Callable[[], None], on_failure: ExitStack) -> None:
        self._loop.add_reader(fd, readable)
        on_failure.callback(self._loop.remove_reader, fd)

    # --- callbacks of the event loop ---

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled and self._open:
            self._turn_scheduled = True
            self._loop.call_soon(self._receive)

    def _receive(self) -> None:
        self._turn_scheduled = False
        for _ in range(_MESSAGES_PER_TURN):
            if not self._open or not self._receive_one():
                return
        self._schedule_turn()

    def _receive_one(self) -> bool:
        try:
            messages = self._channel.receive()
            if not messages:
                return False
            for message in messages:
                if isinstance(message, Produced):
                    self._fetch(message)
                elif type(message) is Release:
                    self._released(message)
            self._on_messages(messages)
        except (ChannelError, LeaseError) as error:
            self.condemn(f"it broke the protocol: {error}")
        except Exception as error:  # whatever it is, the host's burial must go on
            log.exception("a message of host %d could not be handled", self.pid)
            self.condemn(f"a message of it could not be handled: {error!r}")
            return False
        return True

    def _read_stderr(self) -> None:
        if not self._stderr.read():
            self._loop.remove_reader(self._process.stderr.fileno())

    def _fetch(self, reply: Produced) -> None:
        """Copy its payload out of the result arena, before anybody looks at it."""
        lease = reply.payload
        if isinstance(lease, Lease):
            reply.payload = self._results.copy(lease)
            with contextlib.suppress(ChannelError):  # a host that is about to be gone reads no more
                self.send(Release(lease.slot, lease.generation))

    def _released(self, message: Release) -> None:
        if self.arena.release(message.slot, message.generation, trim=False):
            self._trim()
            self._shared = {data: held for data, held in self._shared.items() if held.slot != message.slot}

    def _trim(self) -> None:
        """Give memory of the arena back piece by piece, as other requests have turns in between."""
        if self._open and self.arena.trim_some():
            self._loop.call_soon(self._trim)

    def _process_ended(self) -> None:
        self._loop.remove_reader(self._process.pidfd)
        self.doomed = True
        self._receive()
        self._loop.call_later(_LAST_WORDS_SECONDS, self._bury)

    def _bury(self) -> None:
        while self._receive_one():
            pass
        self._read_stderr()
        progress = self.progress()
        ending = Ending(
            self._process.reap(),
            progress.phase if progress else Phase.STEP,
            self._condemned,
            tuple(self._stderr.lines),
        )
        self._close()
        self._on_end(ending)

    def _close(self) -> None:
        self._open = False
        for fd in (self._channel.fileno(), self._process.stderr.fileno()):
            self._loop.remove_reader(fd)
        self._channel.close()
        self._process.close()
        self.arena.close()
        self._results.close()
