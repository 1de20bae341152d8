"""The host's life once loaded: receive → submit → step → emit, in one thread."""

import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from host.engines.base import Body, Engine, RequestRefused
from host.gauges import GaugeReporter
from host.results import Results
from ipc.arena import ArenaConsumer, Lease, LeaseError
from ipc.channel import Channel, ChannelError, MessageTooLarge
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Cancel, Drain, Failed, Payload, Release, Reply, ToFrontend, ToHost, Work
from ipc.progress import Phase, ProgressWriter

IDLE_POLL_SECONDS = 0.5
IDLE_BUDGET_SECONDS = 5.0
SEND_SECONDS = 5.0  # a frontend that reads nothing for this long is given up
FRAMES_PER_STEP = 64  # a burst of admissions must not stall what is running
RECEIVE_SECONDS = 0.5  # the same for long prompts


class FrontendGone(Exception):
    """The control pipe was closed: nobody is left to serve."""


class ProtocolViolation(Exception):
    """The frontend sent what the protocol does not allow."""


class Loop:
    """Serves one channel with one engine until told to stop."""

    def __init__(
        self,
        channel: Channel[ToFrontend, ToHost],
        requests: ArenaConsumer,
        results: Results,
        progress: ProgressWriter,
        engine: Engine,
        control_fd: int,
        stall_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._channel = channel
        self._requests = requests
        self._results = results
        self._progress = progress
        self._engine = engine
        self._control_fd = control_fd
        self._control = select.poll()
        self._control.register(control_fd, select.POLLIN)
        self._stall_seconds = stall_seconds
        self._gauges = GaugeReporter(engine.gauges)
        self._unsent: list[ToFrontend] = []
        self._draining = False

    def run(self, stop_requested: Callable[[], bool]) -> None:
        """Returns when drained, at once if `stop_requested`. Before Drain it continues whatever is requested:
        service managers send SIGTERM to all processes, and the frontend has answers to finish.

        Raises FrontendGone, ProtocolViolation, ipc.channel.ChannelError, EngineLost.
        """
        while not (self._draining and stop_requested()):
            if self._control.poll(0):
                raise FrontendGone
            self._receive()
            self._flush()
            if self._engine.busy:
                self._progress.enter(Phase.STEP, self._stall_seconds)
                self._unsent += self._engine.step()
            elif self._draining:
                return
            else:
                self._progress.enter(Phase.IDLE, IDLE_BUDGET_SECONDS)
                self._channel.wait(IDLE_POLL_SECONDS, self._control_fd)
            self._unsent += self._gauges.due(self._engine.busy)
            self._flush()

    def _receive(self) -> None:
        began = self._clock()
        for _ in range(FRAMES_PER_STEP):
            try:
                messages = self._channel.receive()
            except ChannelError as error:
                raise ProtocolViolation(str(error)) from error
            if not messages:
                return
            for message in messages:
                self._handle(message)
            if self._clock() - began > RECEIVE_SECONDS:
                return

    def _handle(self, message: ToHost) -> None:
        if isinstance(message, Work):
            # Rendering and tokenizing megabytes takes seconds: each admission has a budget of its own.
            self._progress.enter(Phase.STEP, self._stall_seconds)
            self._submit(message)
        else:
            HANDLERS[type(message)](self, message)

    def _submit(self, work: Work) -> None:
        body = self._body(work.payload)
        try:
            self._unsent += self._engine.submit(work, body)
        except RequestRefused as refusal:
            self._unsent.append(Failed(work.request_id, refusal.error))
        except msgspec.DecodeError as error:
            raise ProtocolViolation(f"payload: {error}") from error
        except Exception as error:  # whatever it is, it is this request's alone
            print(f"admission failed: {error!r}", file=sys.stderr, flush=True)
            failure = RequestError(ErrorCode.ENGINE_FAILED, "the engine could not take this request")
            self._unsent.append(Failed(work.request_id, failure))
        if isinstance(work.payload, Lease):
            self._unsent.append(Release(work.payload.slot, work.payload.generation))

    def _body(self, payload: Payload) -> Body:
        if not isinstance(payload, Lease):
            return payload
        try:
            return self._requests.view(payload)
        except LeaseError as error:
            raise ProtocolViolation(f"payload: {error}") from error

    def _flush(self) -> None:
        """Send what there is in one frame, or one by one where that is too much for a frame."""
        messages, self._unsent = self._unsent, []
        if not messages:
            return
        try:
            self._channel.send(messages, SEND_SECONDS)
        except MessageTooLarge:
            for message in messages:
                self._send_alone(message)

    def _send_alone(self, message: ToFrontend) -> None:
        messages: Sequence[ToFrontend] = [message]
        try:
            self._channel.send(messages, SEND_SECONDS)
        except MessageTooLarge as error:
            if not isinstance(message, Reply):
                raise
            failure = RequestError(ErrorCode.INVALID_VALUE, f"the answer is {error}")
            self._engine.cancel(message.request_id)
            self._channel.send([Failed(message.request_id, failure)], SEND_SECONDS)

    # --- one handler per message that is not work ---------------------------------------------------

    def _cancel(self, message: Cancel) -> None:
        self._engine.cancel(message.request_id)

    def _drain(self, message: Drain) -> None:  # noqa: ARG002 - it says nothing but its name
        self._draining = True

    def _release(self, message: Release) -> None:
        try:
            self._results.release(message)
        except LeaseError as error:
            raise ProtocolViolation(str(error)) from error


HANDLERS: dict[type[ToHost], Callable[[Loop, Any], None]] = {
    Cancel: Loop._cancel,
    Drain: Loop._drain,
    Release: Loop._release,
}
