"""Text generation as jobs: one per choice, journalled token by token so that another host can continue it."""

from collections.abc import Callable
from typing import Protocol, cast
from zlib import crc32

import msgspec

from frontend.errors import ServerError, from_host
from frontend.observability.metrics import ModelMetrics
from frontend.observability.vllm import EndedSequence, FinishedReason
from frontend.routing.choice import CHARACTERS_PER_TOKEN
from frontend.routing.job import Job, fingerprint
from frontend.routing.prefixes import BLOCK_CHARACTERS, MAX_BLOCKS, prefix_blocks
from frontend.routing.recovery import Progress
from frontend.tasks.rehearsal import rehearsal_of
from ipc.continuation import Continuation, continuation
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Accepted,
    ChatMessage,
    ChatPrompt,
    Delta,
    Finish,
    FinishReason,
    Generate,
    MediaPart,
    Payload,
    Prompt,
    PromptScored,
    Reply,
    Sampling,
    TextInput,
    TextPart,
    TextPrompt,
    TokenPrompt,
)


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
    prompt: PromptScored | None = None  # once, before any text

    @property
    def ends(self) -> bool:
        return self.finish_reason is not None


class Stream(Protocol):
    """Where a job's outputs go: the generation that it is a choice of."""

    streaming: bool  # the client sees outputs as they come: none can be taken back

    def sequence_accepted(self) -> None: ...

    def push(self, output: Output) -> None: ...

    def flush(self) -> None: ...

    def cancel(self, error: Exception) -> None: ...


class SequenceSpec(msgspec.Struct, frozen=True):
    """What one choice is to be. Choices of the same `prompt_index` share a prompt."""

    prompt: Prompt
    sampling: Sampling
    prompt_index: int = 0
    report_ids: bool = False  # token ids are wanted, of prompt and text
    score_prompt: bool = False  # so are the log probabilities of the prompt's tokens


class Journal(msgspec.Struct):
    """One choice's record: all that is known of it outside its host."""

    prompt_tokens: int | None = None
    prompt_tail: str = ""  # what the chat template wrote last
    prompt_token_ids: list[int] = []  # where they were asked for
    cached_tokens: int = 0  # of the prompt, found in the KV cache
    token_ids: list[int] = []
    first_token_at: float | None = None
    last_token_at: float | None = None
    finish_reason: FinishReason | None = None


class TextJob(Job):
    """One choice of a generation: a row of a host's batch."""

    work: Generate

    def __init__(
        self, spec: SequenceSpec, choice: int, generation: Stream, body: bytes, arrived_at: float
    ) -> None:
        sampling = msgspec.structs.replace(spec.sampling, grammar="")  # which is in the body
        work = Generate(0, b"", sampling, report_prompt=spec.report_ids, score_prompt=spec.score_prompt)
        super().__init__(work, body, arrived_at, spec.sampling.max_tokens)
        self.spec = spec
        self.choice = choice
        self.generation = generation
        self.max_prompt_tokens: int | None = None
        self.journal = Journal()
        self._images = has_images(spec.prompt)
        self._prefix: list[int] | None = None

    @property
    def progress(self) -> Progress:
        how = continuation_of(self.spec.sampling, images=self._images)
        return Progress(len(self.journal.token_ids), how, self.generation.streaming)

    @property
    def expected_tokens(self) -> tuple[int, int | None]:
        prompt = self.spec.prompt
        if isinstance(prompt, TokenPrompt):
            size = len(prompt.token_ids)
        else:
            size = len(leading_text(prompt)) // CHARACTERS_PER_TOKEN
        most = self.spec.sampling.max_tokens
        return size, None if most is None or most < 0 else most

    @property
    def used_tokens(self) -> tuple[int, int]:
        return self.journal.prompt_tokens or 0, len(self.journal.token_ids)

    @property
    def prefix(self) -> list[int]:
        if self._prefix is None:
            self._prefix = prefix_blocks(leading_text(self.spec.prompt))
        return self._prefix

    def rehearsal(self) -> Callable[[float], Job] | None:
        if self._images or not isinstance(self.body, bytes):
            return None
        if not self.spec.sampling.grammar:
            return rehearsal_of(self.body)
        return rehearsal_of(msgspec.msgpack.encode(TextInput(self.spec.prompt, "")))

    @property
    def trial_cost(self) -> int:
        return (self.journal.prompt_tokens or len(self.body)) + len(self.journal.token_ids)

    def message(self, request_id: int, payload: Payload) -> Generate:
        work = msgspec.structs.replace(self.work, request_id=request_id, payload=payload)
        work.resume_token_ids = list(self.journal.token_ids)
        return work

    def fingerprint(self) -> bytes:
        """Another seed makes it no other request."""
        sampling = msgspec.structs.replace(self.work.sampling, seed=None)
        return fingerprint(Generate(0, b"", sampling), self.body)

    def take(self, reply: Reply, now: float, metrics: ModelMetrics) -> None:
        """The hot path: once per engine step and running choice."""
        if type(reply) is Delta:
            self._gained(reply, now, metrics)
        elif type(reply) is PromptScored:
            self.work.score_prompt = False  # by no other host again
            self.generation.push(Output(self.choice, "", prompt=reply))
        else:
            self._accepted(cast(Accepted, reply), metrics)

    def _accepted(self, reply: Accepted, metrics: ModelMetrics) -> None:
        journal = self.journal
        if journal.prompt_tokens is None:  # not sent again after a death
            if self.max_prompt_tokens is not None and reply.prompt_tokens > self.max_prompt_tokens:
                self.fail(self._too_long(reply.prompt_tokens, self.max_prompt_tokens))
                return
            journal.prompt_tokens = reply.prompt_tokens
            journal.prompt_tail = reply.prompt_tail
            journal.prompt_token_ids = reply.prompt_token_ids
            metrics.prompt_tokens.inc(reply.prompt_tokens)
            self.generation.sequence_accepted()

    def _too_long(self, tokens: int, most: int) -> ServerError:
        field = "messages" if isinstance(self.spec.prompt, ChatPrompt) else "prompt"
        what = f"{field}: the prompt has {tokens} tokens, and this model takes at most {most}"
        return from_host(RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, what, field, (tokens, most)))

    def _gained(self, delta: Delta, now: float, metrics: ModelMetrics) -> None:
        journal = self.journal
        if delta.token_ids:
            journal.token_ids += delta.token_ids
            metrics.generated_tokens.add(len(delta.token_ids))
            self._measure(now, metrics)
        if delta.cached_tokens and not self.state.deaths:  # else the cache of another host
            journal.cached_tokens = delta.cached_tokens
        finish = delta.finish
        if finish is not None:
            self._finished(finish, metrics)
        if delta.text or delta.token_ids or finish is not None:
            self.generation.push(
                Output(
                    self.choice,
                    delta.text,
                    finish.reason if finish is not None else None,
                    token_ids=delta.token_ids,
                    logprobs=delta.logprobs,
                    token_bytes=delta.token_bytes,
                    stop=finish.stop if finish is not None else None,
                )
            )

    def _finished(self, finish: Finish, metrics: ModelMetrics) -> None:
        journal = self.journal
        journal.finish_reason = finish.reason
        if finish.prompt_tokens is not None:
            metrics.prompt_tokens.inc(max(0, finish.prompt_tokens - (journal.prompt_tokens or 0)))
            journal.prompt_tokens = finish.prompt_tokens

    def _measure(self, now: float, metrics: ModelMetrics) -> None:
        """The time between tokens, or to the first; the gap that a death makes has a metric of its own."""
        last, self.journal.last_token_at = self.journal.last_token_at, now
        if last is None:
            self.journal.first_token_at = now
        if self.died_at is not None:
            return
        if last is None:
            metrics.time_to_first_token.observe(now - self.arrived_at)
        else:
            metrics.inter_token.observe(now - last)

    def account(self, unfinished: FinishedReason, metrics: ModelMetrics) -> None:
        journal = self.journal
        metrics.ended(
            EndedSequence(
                reason=journal.finish_reason or unfinished,
                sent_at=self.sent_at,
                first_token_at=journal.first_token_at,
                last_token_at=journal.last_token_at,
                prompt_tokens=journal.prompt_tokens,
                cached_tokens=journal.cached_tokens,
                generated_tokens=len(journal.token_ids),
            )
        )

    def flush(self) -> None:
        self.generation.flush()

    def start_over(self) -> None:
        self.journal.token_ids = []
        self.generation.push(Output(self.choice, "", starts_over=True))

    def fail(self, error: Exception) -> None:
        self.generation.cancel(error)

    def release(self) -> None:
        """Let go of the prompt, which images make large. A job and its generation refer to each other, so
        only the garbage collector would free it."""
        self.body = b""
        self.spec = msgspec.structs.replace(self.spec, prompt=TextPrompt(""))


def leading_text(prompt: Prompt) -> str:
    """Equal for prompts that begin alike, as far as they do."""
    if isinstance(prompt, ChatPrompt):
        return "\0".join([prompt.tools, *(f"{m.role}\0{_content(m)}" for m in prompt.messages)])
    if isinstance(prompt, TextPrompt):
        return prompt.text
    return " ".join(map(str, prompt.token_ids[: BLOCK_CHARACTERS * MAX_BLOCKS]))


def _content(message: ChatMessage) -> str:
    if not isinstance(message.content, list):
        return str(message.content)
    return "\0".join(
        part.text if isinstance(part, TextPart) else f"{part.detail} {crc32(part.payload)}"
        for part in message.content
    )


def has_images(prompt: Prompt) -> bool:
    return isinstance(prompt, ChatPrompt) and any(
        isinstance(part, MediaPart)
        for message in prompt.messages
        if isinstance(message.content, list)
        for part in message.content
    )


def continuation_of(sampling: Sampling, images: bool = False) -> Continuation:
    return continuation(
        greedy=sampling.temperature == 0,  # a model's default may be greedy too, which only its host knows
        seeded=sampling.seed is not None,
        presence_penalty=sampling.presence_penalty or 0.0,
        frequency_penalty=sampling.frequency_penalty or 0.0,
        grammar=bool(sampling.grammar),
        images=images,
    )
