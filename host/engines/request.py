"""One request inside the text engine: what it was, what it has produced, and its journal for a re-add."""

import secrets
from collections.abc import Set
from typing import Any, NamedTuple, Protocol

from host.engines.prefix_cache import CachedSequence
from host.sampling import Choices
from host.templates.turns import NO_TURNS, TurnMarkers
from ipc.messages import Accepted, FinishReason, MediaPart
from ipc.stops import StopMatcher


class Handle(Protocol):
    """The part of openvino_genai.GenerationHandle that is needed here."""

    def can_read(self) -> bool: ...

    def cancel(self) -> None: ...

    def get_status(self) -> Any: ...

    def get_perf_metrics(self) -> Any: ...

    def read(self) -> dict[int, Any]: ...


class PromptContent(NamedTuple):
    """A prompt as text, with tags where its images belong."""

    text: str
    images: tuple[MediaPart, ...] = ()  # still encoded: pixels would take much memory while it waits
    max_tokens: int | None = None  # to generate, if the context has room for them; None for what it has


class ReplayMismatch(Exception):
    """A request that was started over did not produce what it had produced before."""


class TextRequest:
    """Mutable record of a live request. `generated` is the journal: every token that was sent out."""

    __slots__ = (
        "accepted",
        "by_replay",
        "cached_tokens",
        "choices",
        "content",
        "ended_by_eos",
        "finish_reason",
        "generated",
        "given",
        "handle",
        "hides_last",
        "journalled",
        "logprobs",
        "poisoned",
        "prompt_ids",
        "proven",
        "replayed",
        "request_id",
        "restored",
        "rng_seed",
        "sequence",
        "settled",
        "stop",
        "stop_ids",
        "stopped_early",
        "stops",
        "stream",
    )

    def __init__(
        self,
        request_id: int,
        prompt_ids: list[int],
        choices: Choices,
        stream: object,
        turns: TurnMarkers = NO_TURNS,
    ) -> None:
        """`turns` are stop criteria unless the choices say otherwise."""
        if not choices.stop_at_turns:
            turns = NO_TURNS
        self.request_id = request_id
        self.prompt_ids = prompt_ids  # without those of images
        self.given = (0, len(prompt_ids))  # the part that is the client's text, where its scores are wanted
        self.content: PromptContent | None = None  # what the engine gets in place of token ids
        self.accepted: Accepted | None = None  # to be sent once the engine has taken the request
        self.choices = choices
        self.by_replay = not choices.can_be_continued  # after a loss it is generated again from its prompt
        self.stream = stream
        self.stops = _stop_matcher(choices, turns)
        self.stop_ids = choices.stop_token_ids | turns.token_ids
        self.stop: str | int | None = None  # the one of the client's that ended it
        self.generated: list[int] = []
        self.logprobs: list[float] = []  # of the tokens last accepted
        self.cached_tokens: int | None = None  # of the prompt, when it first entered the engine
        self.replayed: int | None = None  # how many journalled tokens came again; None when not replaying
        self.journalled = 0  # generated tokens when it last entered the engine
        self.restored = 0  # generated tokens that were part of the prompt when it last entered the engine
        self.handle: Handle | None = None  # None while it is not in the pipeline
        self.sequence: CachedSequence | None = None  # its part of the prefix cache, while in the pipeline
        self.finish_reason: FinishReason | None = None
        self.ended_by_eos = False
        self.hides_last = False  # the last token is a stop that is not to be seen
        self.stopped_early = False  # by us: the pipeline would go on
        self.proven = False
        self.settled = False
        self.poisoned = False
        self.rng_seed = fresh_seed() if choices.seed is None else choices.seed

    @property
    def has_images(self) -> bool:
        return self.content is not None and bool(self.content.images)

    @property
    def can_be_put_back(self) -> bool:
        """Whether starting it over would cost no more than what it has gained since it was started last."""
        return not self.by_replay or len(self.generated) >= 2 * self.journalled

    def restart(self) -> tuple[list[int], int, int]:
        """Begin again after a lost pipeline: (ids to prefill, max new tokens, min new tokens)."""
        self.settled = False
        self.journalled = len(self.generated)
        self.replayed = None
        choices = self.choices
        # What a grammar has ended can only be drawn out with noise.
        min_tokens = 0 if choices.structural_tag else choices.min_tokens
        if not self.generated:
            return self.prompt_ids, choices.max_tokens, min_tokens
        if self.by_replay:
            self.replayed = 0
            return self.prompt_ids, choices.max_tokens, min_tokens
        done = len(self.generated)
        if choices.seed is None:
            self.rng_seed = fresh_seed()
        return self.prompt_ids + self.generated, choices.max_tokens - done, max(0, min_tokens - done)

    def accept(self, ids: list[int], logprobs: list[float]) -> list[int]:
        """Journal ids from the engine and return the new ones. Raises ReplayMismatch."""
        self.settled = self.proven = True
        if self.replayed is not None:
            new = self._swallow(ids, self.replayed)
            logprobs = logprobs[len(ids) - len(new) :]
            ids = new
        ids = self.restore(ids)
        self.logprobs = logprobs[: len(ids)]
        return ids

    def restore(self, ids: list[int]) -> list[int]:
        """Journal ids up to one that ends the request, and return them."""
        done = len(self.generated)
        for at, token_id in enumerate(ids) if self.stop_ids else ():
            if token_id in self.stop_ids and done + at + 1 >= self.choices.min_tokens:
                self._end_by_token(token_id)
                ids = ids[: at + 1]
                break
        self.generated += ids
        return ids

    def visible(self, ids: list[int], eos_token_ids: Set[int]) -> list[int]:
        """Those of the ids last accepted that become text. An end of sequence is never seen."""
        ids = ids[:-1] if self.ended_by_eos or self.hides_last else ids
        if self.choices.skip_special_tokens:
            return ids
        return [token_id for token_id in ids if token_id not in eos_token_ids]

    def _end_by_token(self, token_id: int) -> None:
        self.stopped_early = self.finish_reason is None
        self.finish_reason = "stop"
        clients = token_id in self.choices.stop_token_ids
        self.stop = token_id if clients else None
        self.hides_last = not (clients and self.choices.include_stop)

    def _swallow(self, ids: list[int], replayed: int) -> list[int]:
        expected = self.generated[replayed : replayed + len(ids)]
        if ids[: len(expected)] != expected:
            raise ReplayMismatch
        replayed += len(expected)
        self.replayed = replayed if replayed < len(self.generated) else None
        return ids[len(expected) :]

    def show(self, text: str) -> str:
        """The part of newly decoded text that may be shown now. A stop string ends the request."""
        stops = self.stops
        if stops is None:
            return text
        if len(self.generated) < self.choices.min_tokens:
            return text
        shown = stops.feed(text)
        if stops.matched is not None:
            self.stopped_early = self.stopped_early or self.finish_reason is None
            self.finish_reason = "stop"
            self.stop = stops.matched if stops.matched in self.choices.stop else None
        elif self.finish_reason is not None:
            shown += stops.flush()
        return shown


def _stop_matcher(choices: Choices, turns: TurnMarkers) -> StopMatcher | None:
    if not (choices.stop or turns.strings):
        return None
    if choices.include_stop:
        return StopMatcher(turns.strings, choices.stop)
    return StopMatcher((*turns.strings, *choices.stop))


def fresh_seed() -> int:
    return secrets.randbits(63)
