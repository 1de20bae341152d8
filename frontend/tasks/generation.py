"""One API call's generation: a job per choice, and the stream of what they produce, read by the API."""

from collections.abc import Callable
from functools import partial

import msgspec

from frontend.errors import BadRequest
from frontend.routing.router import Model
from frontend.tasks.stream import OutputStream
from frontend.tasks.text import Output, SequenceSpec, TextJob
from ipc.messages import TextInput


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as OpenAI counts them: a prompt once, however many choices it has."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # of the prompts, found in an engine's KV cache


class Timing(msgspec.Struct, frozen=True):
    """When a generation was queued and when its first token arrived, in the router's monotonic seconds."""

    queued_at: float
    first_token_at: float | None


class Generation(OutputStream[Output]):
    """The stream of a generation's choices. `abandon` gets all its jobs, once, when they are to stop."""

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
        super().__init__(len(specs), partial(abandon, self.sequences))
        self._abandon_jobs = abandon
        self._unaccepted = len(specs)

    async def accepted(self) -> None:
        """Wait until every sequence is with an engine. Raises the error of the first that is refused."""
        while self._unaccepted and self._unfinished and self._error is None:
            await self._changed()
        if self._error is not None:
            raise self._error

    def sequence_accepted(self) -> None:
        """For the jobs: one more is with an engine."""
        self._unaccepted -= 1

    def end(self, choice: int, token_ids: int) -> None:
        """A choice is complete with its first `token_ids` tokens: what its host adds is not wanted.

        The consumer calls this instead of taking its last output, and drops what it has not taken yet.
        """
        sequence = self.sequences[choice]
        del sequence.journal.token_ids[token_ids:]
        sequence.journal.finish_reason = sequence.journal.finish_reason or "stop"
        if not sequence.ended:
            self._abandon_jobs([sequence])
            self._unfinished -= 1

    def close(self) -> None:
        super().close()
        for sequence in self.sequences:
            sequence.release()

    @property
    def timing(self) -> Timing:
        first = [s.journal.first_token_at for s in self.sequences if s.journal.first_token_at is not None]
        return Timing(self.sequences[0].arrived_at, min(first, default=None))

    @property
    def usage(self) -> Usage:
        prompts: dict[int, int] = {}
        for sequence in self.sequences:  # the tokens of images are known once a choice has ended
            index = sequence.spec.prompt_index
            prompts[index] = max(prompts.get(index, 0), sequence.journal.prompt_tokens or 0)
        cached = {s.spec.prompt_index: s.journal.cached_tokens for s in reversed(self.sequences)}
        produced = sum(len(s.journal.token_ids) for s in self.sequences)
        return Usage(sum(prompts.values()), produced, sum(cached.values()))


def generate(
    model: Model, specs: list[SequenceSpec], streaming: bool, age_seconds: float = 0.0
) -> Generation:
    """Start a generation of one sequence per spec, for a request of that age. The caller closes it.

    Raises BadRequest, ModelUnavailable, QueueFull, RateLimited, RequestTooLarge, RequestBlamed or
    ShuttingDown.
    """
    limits = model.settings
    specs = [within(spec, limits.max_output_tokens) for spec in specs]
    generation = Generation(specs, model.now(), model.drop, streaming)
    for sequence in generation.sequences:
        sequence.max_prompt_tokens = limits.max_prompt_tokens
    model.submit(generation.sequences)
    generation.expires(model.call_when_late(age_seconds, generation.cancel))
    return generation


def within(spec: SequenceSpec, most: int | None) -> SequenceSpec:
    """At most so many tokens of an answer. Raises BadRequest where the client asks for more."""
    asked = spec.sampling.max_tokens
    if most is None or (asked is not None and 0 <= asked <= most):
        return spec
    if asked is not None and asked > most:
        raise BadRequest(f"max_tokens is {asked}, and this model generates at most {most}", "max_tokens")
    return msgspec.structs.replace(spec, sampling=msgspec.structs.replace(spec.sampling, max_tokens=most))
