"""One request inside the text engine: what it was, what it has produced, and its journal for a re-add."""

import secrets
from typing import Any, Protocol

from host.sampling import Choices
from host.stops import StopMatcher
from ipc.messages import FinishReason


class Handle(Protocol):
    """The part of openvino_genai.GenerationHandle that is needed here."""

    def can_read(self) -> bool: ...

    def cancel(self) -> None: ...

    def get_status(self) -> object: ...

    def read(self) -> dict[int, Any]: ...


class ReplayMismatch(Exception):
    """A request that was started over did not produce what it had produced before."""


class TextRequest:
    """Mutable record of a live request. `generated` is the journal: every token that was sent out."""

    __slots__ = (
        "choices",
        "ended_by_eos",
        "finish_reason",
        "generated",
        "handle",
        "poisoned",
        "prompt_ids",
        "proven",
        "replayed",
        "request_id",
        "rng_seed",
        "settled",
        "stopped_early",
        "stops",
        "stream",
    )

    def __init__(self, request_id: int, prompt_ids: list[int], choices: Choices, stream: object) -> None:
        self.request_id = request_id
        self.prompt_ids = prompt_ids
        self.choices = choices
        self.stream = stream
        self.stops = StopMatcher(choices.stop) if choices.stop else None
        self.generated: list[int] = []
        self.replayed: int | None = None  # how many journalled tokens came again; None when not replaying
        self.handle: Handle | None = None  # None while it waits its turn on probation
        self.finish_reason: FinishReason | None = None
        self.ended_by_eos = False  # the last token is one that is not to be seen
        self.stopped_early = False  # by a stop string: the pipeline would go on
        self.proven = False
        self.settled = False
        self.poisoned = False
        self.rng_seed = fresh_seed() if choices.seed is None else choices.seed

    def restart(self) -> tuple[list[int], int, int]:
        """Begin again after a lost pipeline: (ids to prefill, max new tokens, min new tokens)."""
        self.settled = False
        choices = self.choices
        if not self.generated:
            return self.prompt_ids, choices.max_tokens, choices.min_tokens
        if not choices.can_be_continued:
            self.replayed = 0
            return self.prompt_ids, choices.max_tokens, choices.min_tokens
        done = len(self.generated)
        if choices.seed is None:
            self.rng_seed = fresh_seed()
        return self.prompt_ids + self.generated, choices.max_tokens - done, max(0, choices.min_tokens - done)

    def accept(self, ids: list[int]) -> list[int]:
        """Journal ids from the engine and return the new ones. Raises ReplayMismatch."""
        self.settled = self.proven = True
        if self.replayed is not None:
            ids = self._swallow(ids, self.replayed)
        self.generated += ids
        return ids

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
        if stops.matched:
            self.stopped_early = self.finish_reason is None
            self.finish_reason = "stop"
        elif self.finish_reason is not None:
            shown += stops.flush()
        return shown


def fresh_seed() -> int:
    return secrets.randbits(63)
