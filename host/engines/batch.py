"""What is inside the native pipeline, added and stopped so that its prefix cache stays right."""

from typing import Any, NamedTuple

import numpy as np
import openvino_genai as genai
from openvino import Tensor

from host.engines.prefill import PrefillPlan
from host.engines.prefix_cache import CachedSequence, PrefixCache

_RUNNING = genai.GenerationStatus.RUNNING
_IGNORED = genai.GenerationStatus.IGNORED


class ImagePrompt(NamedTuple):
    """What a vision model takes in place of token ids."""

    text: str  # with tags where the images belong
    images: list[Tensor]  # RGB u8 [1, height, width, 3]


class Batch:
    """The requests, and pieces of requests, that the pipeline knows of."""

    def __init__(self, native: Any, cache: PrefixCache | None, block_tokens: int, step_tokens: int) -> None:
        """`native` is a ContinuousBatchingPipeline or has its calls. Without a `cache` nothing is planned."""
        self._native = native
        self._cache = cache
        self._block_tokens = block_tokens
        self._step_tokens = step_tokens
        self._last_id = 0  # the pipeline never forgets an id, and a re-add needs a new one
        self._plan: PrefillPlan | None = None
        self._pieces: list[tuple[Any, CachedSequence]] = []  # of prompts that wait for their rest
        self._stopped: list[CachedSequence] = []  # until the next step
        self.starved = False  # a piece found no room in the KV cache: the pipeline is to judge the whole

    def plan(self, generating: int) -> None:
        """Begin the plan of the next step, in which so many requests generate."""
        if self._cache is not None:
            self._plan = PrefillPlan(
                self._cache, self._block_tokens, self._step_tokens - generating, alone=not generating
            )

    @property
    def has_pieces(self) -> bool:
        return bool(self._pieces)

    @property
    def step_tokens(self) -> int:
        """What one step computes at most."""
        return self._step_tokens

    @property
    def short_of_room(self) -> bool:
        return self._cache is not None and self._cache.blocks_short > 0

    def take(self, ids: list[int]) -> tuple[int, int]:
        """How many of a prompt's first ids may be added now, and how many of them are cached."""
        if self._plan is None:
            return len(ids), 0
        if self._pieces:
            return 0, 0
        end, cached = self._plan.take(ids)
        if self.starved and end:
            self.starved = False
            return len(ids), cached
        return end, cached

    def add(self, prompt: list[int] | ImagePrompt, config: Any) -> tuple[Any, CachedSequence | None]:
        """A new request's handle, which must be kept, and its part of the cache. Raises RuntimeError."""
        self._last_id += 1
        handle = self.add_twin(prompt, config)
        if self._cache is None or isinstance(prompt, ImagePrompt):
            return handle, None
        return handle, self._cache.add(prompt)

    def add_twin(self, prompt: list[int] | ImagePrompt, config: Any) -> Any:
        """Another request under the last one's id, which the pipeline cannot bear."""
        if isinstance(prompt, ImagePrompt):
            return self._native.add_request(self._last_id, prompt.text, prompt.images, config)
        return self._native.add_request(self._last_id, _tensor(prompt), config)

    def add_piece(self, ids: list[int]) -> None:
        """The beginning of a prompt, for the sake of the cache alone."""
        config = genai.GenerationConfig()
        config.max_new_tokens = 1
        handle, sequence = self.add(ids, config)
        assert sequence is not None, "only where there is a cache are prompts cut"
        self._pieces.append((handle, sequence))

    def step(self) -> None:
        """Raises whatever the pipeline raises, and then again until everything in it was stopped."""
        if self._cache is not None:
            self._cache.schedule()
        self._native.step()
        for sequence in self._stopped:
            self.ended(sequence)
        self._stopped.clear()
        pieces, self._pieces = self._pieces, []
        for handle, sequence in pieces:
            status = handle.get_status()
            if status == _RUNNING:
                self._pieces.append((handle, sequence))
            else:
                self.starved |= status == _IGNORED
                self.ended(sequence)

    def stop(self, handle: Any, sequence: CachedSequence | None) -> None:
        """Cancel a request; it is gone after the next step."""
        handle.cancel()
        if sequence is not None:
            sequence.stopped = True
            self._stopped.append(sequence)

    def stop_pieces(self) -> None:
        for piece in self._pieces:
            self.stop(*piece)
        self._pieces.clear()

    def ended(self, sequence: CachedSequence | None) -> None:
        """The pipeline has finished a request."""
        if self._cache is not None and sequence is not None:
            self._cache.remove(sequence)


def _tensor(ids: list[int]) -> Tensor:
    return Tensor(np.array([ids], dtype=np.int64))
