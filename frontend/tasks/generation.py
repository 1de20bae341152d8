"""One API call's generation: a job per choice, and the stream of what they produce, read by the API."""

import asyncio
from collections.abc import Callable

import msgspec

from frontend.errors import ClientGone
from frontend.routing.router import Model
from frontend.tasks.text import Output, SequenceSpec, TextJob
from ipc.messages import TextInput


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as OpenAI counts them: a prompt once, however many choices it has."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # of the prompts, found in an engine's KV cache


class Generation:
    """Written by the router, read by one consumer.

    `abandon` is called once if the consumer is not interested any more, or the generation has failed.
    """

    def __init__(
        self,
        specs: list[SequenceSpec],
        now: float,
        abandon: Callable[[list[TextJob]], None],
        streaming: bool = False,
    ) -> None:
        self.streaming = streaming  # the client sees outputs as they come: none can be taken back
        bodies: dict[int, bytes] = {}  # choices of one prompt share its encoding, and the grammar's
        for spec in specs:
            if spec.prompt_index not in bodies:
                given = TextInput(spec.prompt, spec.sampling.grammar)
                bodies[spec.prompt_index] = msgspec.msgpack.encode(given)
        self.sequences = [
            TextJob(spec, choice, self, bodies[spec.prompt_index], now) for choice, spec in enumerate(specs)
        ]
        self._abandon = abandon
        self._buffer: list[Output] = []
        self._error: Exception | None = None
        self._unfinished = len(specs)
        self._unaccepted = len(specs)
        self._wake: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    # --- the consumer's side ---

    async def accepted(self) -> None:
        """Wait until every sequence is with an engine. Raises the error of the first that is refused."""
        while self._unaccepted and self._unfinished and self._error is None:
            await self._changed()
        if self._error is not None:
            raise self._error

    async def outputs(self) -> list[Output]:
        """All that came since the last call, at least one; empty at the end. Raises what went wrong."""
        while not self._buffer and self._unfinished and self._error is None:
            await self._changed()
        return self.take()

    def take(self) -> list[Output]:
        """All that came since the last call, without waiting; raises what went wrong once nothing is left."""
        if self._buffer:
            outputs, self._buffer = self._buffer, []
            return outputs
        if self._error is not None:
            raise self._error
        return []

    @property
    def finished(self) -> bool:
        """Every choice has ended and was taken."""
        return not self._buffer and not self._unfinished

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call back, in the turn of the event loop in which it arrived, when there is more to take or the
        generation has failed. None: no longer."""
        self._listener = callback

    def cancel(self, error: Exception) -> None:
        """Stop every sequence, wherever it is; the consumer gets `error`."""
        if self._error is None and self._unfinished:
            self._error = error
            self._abandon(self.sequences)
            self.flush()

    def close(self) -> None:
        """The consumer is done; whatever still runs is cancelled."""
        self._listener = None
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

    def push(self, output: Output) -> None:
        self._buffer.append(output)
        if output.finish_reason is not None:
            self._unfinished -= 1

    def flush(self) -> None:
        """Tell the consumer: once for all that arrived together."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        elif self._listener is not None and (self._buffer or self._error is not None):
            self._listener()


def generate(
    model: Model, specs: list[SequenceSpec], streaming: bool, age_seconds: float = 0.0
) -> Generation:
    """Start a generation of one sequence per spec, for a request of that age. The caller closes it.

    Raises ModelUnavailable, QueueFull, RequestTooLarge, RequestBlamed or ShuttingDown.
    """
    generation = Generation(specs, model.now(), model.drop, streaming)
    model.submit(generation.sequences)
    generation.expires(model.call_when_late(age_seconds, generation.cancel))
    return generation
