"""Work that another Nacelle sent: done here as a job of its own, its replies passed back as they are.

The job notes how far it has come, so that a death of its host here is repaired here: the other side notices
nothing but the time that it takes.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from frontend.errors import BadRequest
from frontend.observability.metrics import ModelMetrics
from frontend.observability.vllm import EndedSequence, FinishedReason
from frontend.routing.job import Body, Job
from frontend.routing.prefixes import prefix_blocks
from frontend.routing.recovery import Progress
from frontend.routing.router import Model
from frontend.spool import Spool
from frontend.tasks.text import continuation_of, has_images, leading_text
from ipc.continuation import Continuation
from ipc.messages import (
    Accepted,
    Delta,
    DetectSpeech,
    Detokenize,
    Embed,
    EmbedInputs,
    FinishReason,
    Generate,
    ModelCard,
    Payload,
    Prompt,
    PromptScored,
    Reply,
    Rerank,
    RerankInputs,
    Result,
    Speak,
    SpeechInput,
    Spoken,
    TextCard,
    TextInput,
    Tokenize,
    Transcribe,
    Transcribed,
    Work,
    task_with,
)


class Outlet(Protocol):
    """Where the replies to relayed work go."""

    def reply(self, job: "RelayedJob", reply: Reply) -> None: ...

    def fail(self, job: "RelayedJob", error: Exception) -> None: ...

    def flush(self) -> None: ...


class Kind(msgspec.Struct, frozen=True):
    """What must be known of a kind of work to relay it."""

    payload: Any = None  # the type that its payload encodes; None: a file, of any content
    needs_slot: bool = True
    advance: Callable[[Any, Any], None] | None = None  # note in the work what a reply has done of it


def _advance_text(work: Generate, reply: Reply) -> None:
    if isinstance(reply, Delta):
        work.resume_token_ids += reply.token_ids
    elif isinstance(reply, PromptScored):
        work.score_prompt = False


def _advance_transcript(work: Transcribe, reply: Transcribed) -> None:
    work.resume_seconds = max(work.resume_seconds, reply.until)
    work.resume_windows += reply.units
    work.language = work.language or reply.language or None


def _advance_speech(work: Speak, reply: Spoken) -> None:
    work.resume_sentences += reply.units
    work.resume_samples += reply.samples


KINDS: dict[type[Work], Kind] = {
    Generate: Kind(TextInput, advance=_advance_text),
    Tokenize: Kind(Prompt, needs_slot=False),
    Detokenize: Kind(list[int], needs_slot=False),
    Embed: Kind(EmbedInputs),
    Rerank: Kind(RerankInputs),
    Transcribe: Kind(advance=_advance_transcript),
    DetectSpeech: Kind(needs_slot=False),
    Speak: Kind(SpeechInput, advance=_advance_speech),
}


class RelayedJob(Job):
    """One piece of work. `number` is the request id of the side that sent it."""

    def __init__(self, work: Work, body: Body, model: Model, outlet: Outlet) -> None:
        """Raises BadRequest for work that is none for this model, or that cannot be read: a host would take
        it for a breach of the protocol."""
        given = check(work, body, model.card)
        kind = KINDS[type(work)]
        self._advance = kind.advance
        self._continuation = Continuation.BY_TEXT
        self._blocks: list[int] = []
        max_units: int | None = 0
        if isinstance(work, Generate):
            max_units = work.sampling.max_tokens
            self._continuation = continuation_of(
                msgspec.structs.replace(work.sampling, grammar=given.grammar),
                images=has_images(given.prompt),
            )
            self._blocks = prefix_blocks(leading_text(given.prompt))
        self.number = work.request_id
        self.needs_slot = kind.needs_slot
        self.model = model
        self._outlet = outlet
        self._prompt_tokens: int | None = None
        self._cached_tokens = 0
        self._finish_reason: FinishReason | None = None
        self._first_at: float | None = None
        self._last_at: float | None = None  # when its last tokens came
        work = msgspec.structs.replace(work, request_id=0, payload=b"")
        super().__init__(work, body, model.now(), max_units)

    @property
    def progress(self) -> Progress:
        return Progress(self.work.done_units, self._continuation, visible=True)

    @property
    def prefix(self) -> list[int]:
        return self._blocks

    def message(self, request_id: int, payload: Payload) -> Work:
        work = super().message(request_id, payload)
        if isinstance(work, Generate):  # the list goes on growing
            work.resume_token_ids = list(work.resume_token_ids)
        return work

    def take(self, reply: Reply, now: float, metrics: ModelMetrics) -> None:
        if self._advance is not None:
            self._advance(self.work, reply)
        self._measure(reply, now, metrics)
        reply.request_id = self.number
        self._outlet.reply(self, reply)

    def _measure(self, reply: Reply, now: float, metrics: ModelMetrics) -> None:
        if isinstance(reply, Delta) and reply.token_ids:
            metrics.generated_tokens.add(len(reply.token_ids))
            if self.died_at is None:
                if self._last_at is not None:
                    metrics.inter_token.observe(now - self._last_at)
                else:
                    metrics.time_to_first_token.observe(now - self.arrived_at)
            self._first_at = self._first_at or now
            self._last_at = now
        elif isinstance(reply, Accepted | Result) and self._prompt_tokens is None:
            self._prompt_tokens = reply.prompt_tokens
            metrics.prompt_tokens.inc(reply.prompt_tokens)
        if isinstance(reply, Delta):
            self._cached_tokens = self._cached_tokens or reply.cached_tokens
            if reply.finish is not None:
                self._finish_reason = reply.finish.reason

    def account(self, unfinished: FinishedReason, metrics: ModelMetrics) -> None:
        if isinstance(self.work, Generate):
            metrics.ended(
                EndedSequence(
                    reason=self._finish_reason or unfinished,
                    sent_at=self.sent_at,
                    first_token_at=self._first_at,
                    last_token_at=self._last_at,
                    prompt_tokens=self._prompt_tokens,
                    cached_tokens=self._cached_tokens,
                    generated_tokens=len(self.work.resume_token_ids),
                )
            )

    def flush(self) -> None:
        self._outlet.flush()

    def fail(self, error: Exception) -> None:
        self._outlet.fail(self, error)


def check(work: Work, body: Body, card: ModelCard) -> Any:
    """The decoded payload; None of a file. Raises BadRequest."""
    name = type(work).__name__
    if type(work) not in KINDS or type(work) not in task_with(card).work:
        raise BadRequest(f"{name} is no work for this model")
    expected = KINDS[type(work)].payload
    given = None
    if expected is not None:
        try:
            given = msgspec.msgpack.decode(body.read() if isinstance(body, Spool) else body, type=expected)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"the payload of {name} cannot be read: {error}") from error
    if isinstance(work, Generate):
        assert isinstance(card, TextCard)
        if not all(0 <= token < card.vocab_size for token in work.resume_token_ids):
            raise BadRequest(f"resume_token_ids: outside the vocabulary of {card.vocab_size}")
    return given
