"""The host's life once loaded: receive → admit → step → emit, in one thread."""

import select
import sys
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from host.engines.base import Engine, RequestRefused
from host.faults import FaultInjector
from host.gauges import GaugeReporter
from ipc.arena import ArenaConsumer, LeaseError
from ipc.channel import Channel, ChannelError, MessageTooLarge
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Cancel,
    Detokenize,
    Drain,
    Failed,
    Generate,
    InlinePrompt,
    Prompt,
    Release,
    SharedPrompt,
    ToFrontend,
    ToHost,
    Tokenize,
)
from ipc.progress import Phase, ProgressWriter

IDLE_POLL_SECONDS = 0.5
IDLE_BUDGET_SECONDS = 5.0
SEND_SECONDS = 5.0  # a frontend that reads nothing for so long is no use
MESSAGES_PER_STEP = 64  # a burst of admissions must not stall what is running
RECEIVE_SECONDS = 0.5  # the same for long prompts

A = TypeVar("A")
P = ParamSpec("P")

_shared_prompt: msgspec.msgpack.Decoder[InlinePrompt] = msgspec.msgpack.Decoder(InlinePrompt)


class FrontendGone(Exception):
    """The control pipe was closed: nobody is left to serve."""


class ProtocolViolation(Exception):
    """The frontend sent what the protocol does not allow."""


class Loop:
    """Serves one channel with one engine until told to stop."""

    def __init__(
        self,
        channel: Channel[ToFrontend, ToHost],
        arena: ArenaConsumer,
        progress: ProgressWriter,
        engine: Engine,
        control_fd: int,
        stall_seconds: float,
        faults: FaultInjector | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._channel = channel
        self._arena = arena
        self._progress = progress
        self._engine = engine
        self._control_fd = control_fd
        self._control = select.poll()
        self._control.register(control_fd, select.POLLIN)
        self._stall_seconds = stall_seconds
        self._faults = faults
        self._gauges = GaugeReporter(engine.gauges, self._send)
        self._draining = False

    def run(self, stop_requested: Callable[[], bool]) -> None:
        """Returns when drained, at once if `stop_requested`. Before Drain it goes on whatever is requested:
        service managers send SIGTERM to all processes, and the frontend has answers to finish.

        Raises FrontendGone, ProtocolViolation, ipc.channel.ChannelError, EngineLost.
        """
        while not (self._draining and stop_requested()):
            if self._control.poll(0):
                raise FrontendGone
            self._receive()
            if self._engine.busy:
                self._step()
            elif self._draining:
                return
            else:
                self._progress.enter(Phase.IDLE, IDLE_BUDGET_SECONDS)
                self._channel.wait(IDLE_POLL_SECONDS, self._control_fd)
            self._gauges.report(self._engine.busy)

    def _receive(self) -> None:
        began = self._clock()
        for _ in range(MESSAGES_PER_STEP):
            try:
                message = self._channel.receive()
            except ChannelError as error:
                raise ProtocolViolation(str(error)) from error
            if message is None:
                return
            # Rendering and tokenizing megabytes takes seconds: each admission has a budget of its own.
            self._progress.enter(Phase.STEP, self._stall_seconds)
            HANDLERS[type(message)](self, message)
            if self._clock() - began > RECEIVE_SECONDS:
                break

    def _step(self) -> None:
        self._progress.enter(Phase.STEP, self._stall_seconds)
        if self._faults is not None:
            self._faults.before_step()
        messages = self._engine.step()
        if self._faults is not None:
            self._faults.after_step(messages)
        for message in messages:
            self._send(message)

    def _send(self, message: ToFrontend) -> None:
        self._channel.send(message, SEND_SECONDS)

    # --- one handler per message ------------------------------------------------------------------

    def _generate(self, request: Generate) -> None:
        prompt = self._inline(request.prompt)
        resume = request.resume_token_ids
        accepted = self._try(request.request_id, self._engine.admit, prompt, request.sampling, resume)
        if accepted is None:
            return
        if self._faults is not None:
            self._faults.arm(request.request_id, prompt, len(resume))
        if not request.report_prompt:
            accepted.prompt_token_ids = []
        self._send(accepted)

    def _tokenize(self, question: Tokenize) -> None:
        prompt = self._inline(question.prompt)
        self._answer(question.request_id, self._engine.tokenize, prompt)

    def _detokenize(self, question: Detokenize) -> None:
        ids, skip = question.token_ids, question.skip_special_tokens
        self._answer(question.request_id, self._engine.detokenize, ids, skip)

    def _answer(
        self,
        request_id: int,
        ask: Callable[Concatenate[int, P], ToFrontend],
        *args: P.args,
        **named: P.kwargs,
    ) -> None:
        answer = self._try(request_id, ask, *args, **named)
        if answer is None:
            return
        try:
            self._send(answer)
        except MessageTooLarge as error:
            self._send(Failed(request_id, RequestError(ErrorCode.INVALID_VALUE, f"the answer is {error}")))

    def _try(
        self, request_id: int, answer: Callable[Concatenate[int, P], A], *args: P.args, **named: P.kwargs
    ) -> A | None:
        """What the engine says to a request, or None after a Failed was sent."""
        try:
            return answer(request_id, *args, **named)
        except RequestRefused as refusal:
            self._send(Failed(request_id, refusal.error))
        except Exception as error:  # whatever it is, it is this request's alone
            print(f"admission failed: {error!r}", file=sys.stderr, flush=True)
            failure = RequestError(ErrorCode.ENGINE_FAILED, "the engine could not take this request")
            self._send(Failed(request_id, failure))
        return None

    def _cancel(self, message: Cancel) -> None:
        self._engine.cancel(message.request_id)

    def _drain(self, message: Drain) -> None:  # noqa: ARG002 - it says nothing but its name
        self._draining = True

    def _inline(self, prompt: Prompt) -> InlinePrompt:
        """Copy a prompt out of shared memory, where it is there, and give the lease back at once."""
        if not isinstance(prompt, SharedPrompt):
            return prompt
        lease = prompt.lease
        try:
            inline = _shared_prompt.decode(self._arena.view(lease))
        except (LeaseError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(f"shared prompt: {error}") from error
        self._send(Release(lease.slot, lease.generation))
        return inline


HANDLERS: dict[type[ToHost], Callable[[Loop, Any], None]] = {
    Generate: Loop._generate,
    Tokenize: Loop._tokenize,
    Detokenize: Loop._detokenize,
    Cancel: Loop._cancel,
    Drain: Loop._drain,
}
