"""One API call's generation: its sequences, and the stream of what they produce, read by the API."""

import asyncio
from collections.abc import Callable

import msgspec

from frontend.errors import ClientGone
from frontend.routing.journal import Journal
from frontend.routing.recovery import Suspicion
from ipc.messages import FinishReason, InlinePrompt, Sampling


class Output(msgspec.Struct, frozen=True, gc=False):
    """What one choice gained. `text` may be empty."""

    choice: int
    text: str
    finish_reason: FinishReason | None = None
    starts_over: bool = False  # the choice's text so far is void; never where the client streams
    token_ids: list[int] = []  # what `text` shows may lag them
    logprobs: list[float] = []  # by token, where they were asked for
    token_bytes: list[bytes] = []  # by token, with the logprobs
    stop: str | int | None = None  # the stop string or the client's stop token that ended it


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as OpenAI counts them: a prompt once, however many choices it has."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # of the prompts, found in an engine's KV cache


class SequenceSpec(msgspec.Struct, frozen=True):
    """What one choice is to be. Choices of the same `prompt_index` share a prompt."""

    prompt: InlinePrompt
    sampling: Sampling
    prompt_index: int = 0
    report_ids: bool = False  # token ids are wanted, of prompt and text


class Sequence:
    """One choice: a row of a host's batch."""

    def __init__(self, spec: SequenceSpec, choice: int, generation: "Generation", now: float) -> None:
        self.spec = spec
        self.choice = choice
        self.generation = generation
        self.suspicion = Suspicion()
        self.journal = Journal(spec.prompt, spec.sampling, now)
        self.prompt_bytes = len(msgspec.msgpack.encode(spec.prompt))
        self.waits_for_room = False  # in a full arena


class Generation:
    """Written by the router, read by one consumer.

    `abandon` is called once if the consumer is not interested any more, or the generation has failed.
    """

    def __init__(
        self,
        specs: list[SequenceSpec],
        now: float,
        abandon: Callable[["Generation"], None],
        streaming: bool = False,
    ) -> None:
        self.streaming = streaming  # the client sees outputs as they come: none can be taken back
        self.sequences = [Sequence(spec, choice, self, now) for choice, spec in enumerate(specs)]
        self._abandon = abandon
        self._buffer: list[Output] = []
        self._error: Exception | None = None
        self._unfinished = len(specs)
        self._unaccepted = len(specs)
        self._wake: asyncio.Future[None] | None = None
        self._callback: Callable[[], None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    # --- the consumer's side ---

    async def accepted(self) -> None:
        """Wait until every sequence is with an engine. Raises the error of the first that is refused."""
        while self._unaccepted and self._error is None:
            await self._changed()
        if self._error is not None:
            raise self._error

    async def outputs(self) -> list[Output]:
        """All that came since the last call, at least one; empty at the end. Raises what went wrong."""
        while not self._buffer and self._unfinished and self._error is None:
            await self._changed()
        return self.take()

    def take(self) -> list[Output]:
        """All outputs that are buffered, perhaps none. Raises what went wrong once there are none."""
        if self._buffer:
            outputs, self._buffer = self._buffer, []
            return outputs
        if self._error is not None:
            raise self._error
        return []

    @property
    def finished(self) -> bool:
        """Whether all sequences have ended and all outputs were taken."""
        return not self._unfinished and not self._buffer

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` once per message of a host that brought outputs, and when the generation fails."""
        self._callback = callback

    def cancel(self, error: Exception) -> None:
        """Stop every sequence, wherever it is; the consumer gets `error`."""
        if self._error is None and self._unfinished:
            self._error = error
            self._abandon(self)
            self._notify()
            self.flush()

    def close(self) -> None:
        """The consumer is done; whatever still runs is cancelled."""
        self.cancel(ClientGone())
        if self._expiry is not None:
            self._expiry.cancel()

    @property
    def usage(self) -> Usage:
        prompts = {s.spec.prompt_index: s.journal.prompt_tokens or 0 for s in self.sequences}
        cached = {s.spec.prompt_index: s.journal.cached_tokens for s in reversed(self.sequences)}
        produced = sum(len(s.journal.token_ids) for s in self.sequences)
        return Usage(sum(prompts.values()), produced, sum(cached.values()))

    async def _changed(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    # --- the router's side ---

    def expires(self, expiry: asyncio.TimerHandle) -> None:
        """The timer to stop at the end."""
        self._expiry = expiry

    def sequence_accepted(self) -> None:
        self._unaccepted -= 1
        if not self._unaccepted:
            self._notify()

    def push(self, output: Output) -> None:
        self._buffer.append(output)
        if output.finish_reason is not None:
            self._unfinished -= 1
        self._notify()

    def flush(self) -> None:
        """After the pushes of one message: have the outputs taken."""
        if self._callback is not None:
            self._callback()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
