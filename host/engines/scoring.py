"""Log probabilities of a prompt's own tokens, by the pipeline's `echo`, around its two faults.

The pipeline computes nothing for tokens that it finds in its prefix cache. So where there is one, a prompt is
spelled with ids that the cache has never seen: a negative id counts from the end of the embedding table, so
`id - rows` is the same token with another hash. For such a token the pipeline reads a wrong log probability.
The right one comes from a second, short run, whose first block ends with random tokens: what follows a token
does not change its probability. Whether a device reads negative ids like that is checked before the first
use.

And the pipeline reads wrong rows if a request without `echo` precedes one with it in the same step. So these
runs have the pipeline to themselves.
"""

import random
from collections.abc import Iterable
from typing import Any

import msgspec
import openvino_genai as genai

from host.engines import failures
from host.engines.batch import Batch
from host.engines.prefix_cache import CachedSequence
from host.engines.request import TextRequest
from ipc.errors import RequestError

_RUNNING = genai.GenerationStatus.RUNNING
_IGNORED = genai.GenerationStatus.IGNORED
_FIRST_RENAMED = 3  # before it, the wrong value would be read from in front of the logits
_ATTEMPTS = 4
_SAME = 0.5  # nats of difference, on average: arithmetic of low precision depends on the batch


class Run(msgspec.Struct, frozen=True):
    """One pass over `ids`, of which the scores from `start` to `end` are of use."""

    ids: list[int]
    start: int
    end: int


def plain_run(ids: list[int]) -> list[Run]:
    return [Run(ids, 0, len(ids))]


def uncached_runs(ids: list[int], rows: int, block_tokens: int, draw: random.Random) -> list[Run]:
    """Runs that find nothing in a prefix cache of such blocks. `rows`: of the embedding table."""
    head = min(len(ids), block_tokens - 1)
    first = ids[0] - rows
    filling = [draw.randrange(rows) for _ in range(block_tokens + 1)]
    runs = [Run([first, *ids[1:head], *filling[head:]], 0, head)]
    if head < len(ids):
        renamed = [t - rows if draw.random() < 0.5 else t for t in ids[_FIRST_RENAMED:head]]
        spelled = [first, *ids[1:_FIRST_RENAMED], *renamed, *ids[head:]]
        runs.append(Run(spelled + filling[len(ids) :], head, len(ids)))
    return runs


class _PromptRuns:
    """A request's runs, inside the pipeline."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self.inside: list[tuple[Any, CachedSequence | None]] = []
        self.scores: list[list[float]] = [[] for _ in runs]
        self.starved = False  # a run found no room in the KV cache


class Scorer:
    """The runs of the requests whose prompts are being scored. Nothing else may be in the pipeline."""

    def __init__(
        self, batch: Batch, caches: bool, vocab_size: int, block_tokens: int, kv_cache_tokens: int
    ) -> None:
        """`caches`: whether the pipeline has a prefix cache."""
        self._batch = batch
        self._kv_cache_tokens = kv_cache_tokens
        self._caches = caches
        self._rows = vocab_size
        self._block_tokens = block_tokens
        self._draw = random.Random()  # noqa: S311 - chance here guards against coincidences, not people
        self._passages: dict[int, tuple[TextRequest, _PromptRuns]] = {}
        self._attempts: dict[int, int] = {}
        self._check: tuple[_PromptRuns, _PromptRuns] | None = None  # one prompt in either way
        self._checked = not caches
        self._works = True

    @property
    def busy(self) -> bool:
        return bool(self._passages) or self._check is not None

    @property
    def refusal(self) -> str:
        """Why no prompt can be scored; empty if they can."""
        return "" if self._works else "with a prefix cache this device computes others"

    @property
    def is_kept_waiting(self) -> bool:
        """Whether the pipeline still computes pieces of other prompts."""
        return self._batch.has_pieces

    def room_needed(self, prompt_tokens: int) -> int:
        """Tokens of KV cache that scoring a prompt takes: all runs are inside at once, in blocks of their
        own, and each generates a token."""
        size = self._block_tokens
        lengths = [prompt_tokens]
        if self._caches:
            lengths = [size + 1] if prompt_tokens < size else [size + 1, max(size + 1, prompt_tokens)]
        return sum(-(-(length + 1) // size) * size for length in lengths)

    def has_room_for(self, request: TextRequest) -> bool:
        """Within what one step computes and the KV cache holds, or alone."""
        if not self.busy:
            return True
        requests = [request, *(inside for inside, _ in self._passages.values())]
        tokens = len(request.prompt_ids) + sum(
            len(run.ids) for _, passage in self._passages.values() for run in passage.runs
        )
        room = sum(self.room_needed(len(one.prompt_ids)) for one in requests)
        fits = tokens <= self._batch.step_tokens and room <= self._kv_cache_tokens
        return fits and self._check is None

    def begin(self, request: TextRequest) -> bool:
        """Add a request's runs; False if the check, which comes before the first, was begun instead.

        Raises RuntimeError, and then nothing was begun.
        """
        if not self._checked:
            self._begin_check()
            return False
        self._passages[request.request_id] = request, self._entered(self._runs(request.prompt_ids))
        return True

    def _begin_check(self) -> None:
        ids = [self._draw.randrange(self._rows) for _ in range(2 * self._block_tokens)]
        plain = self._entered(plain_run(ids))
        try:
            self._check = plain, self._entered(self._runs(ids))
        except RuntimeError:
            self._stop(plain)
            raise
        self._checked = True

    def _runs(self, ids: list[int]) -> list[Run]:
        if not self._caches:
            return plain_run(ids)
        return uncached_runs(ids, self._rows, self._block_tokens, self._draw)

    def _entered(self, runs: list[Run]) -> _PromptRuns:
        passage = _PromptRuns(runs)
        for run in runs:
            config = genai.GenerationConfig()
            config.max_new_tokens = 1  # with 0 the pipeline may read memory that is not its own
            config.echo = True
            config.logprobs = 1
            try:
                passage.inside.append(self._batch.add(run.ids, config))
            except RuntimeError:
                self._stop(passage)
                raise
        return passage

    def _stop(self, passage: _PromptRuns) -> None:
        for run in passage.inside:
            self._batch.stop(*run)

    def collect(self) -> Iterable[tuple[TextRequest, list[float] | RequestError]]:
        """After a step: the requests whose scores are complete, by token, or why they cannot be had."""
        if self._check is not None and self._ended(self._check[0]) & self._ended(self._check[1]):
            self._works = _agree(*map(_joined, self._check))
            self._check = None
        for request_id, (request, passage) in list(self._passages.items()):
            if not self._ended(passage):
                continue
            del self._passages[request_id]
            scores = _joined(passage)
            attempts = self._attempts.pop(request_id, 1)
            if scores is not None:
                yield request, scores
            elif passage.starved:
                yield request, failures.OUT_OF_KV_CACHE
            elif attempts == _ATTEMPTS:
                yield request, failures.NOT_SCORED
            else:  # it was found in the cache, by chance
                try:
                    self.begin(request)
                    self._attempts[request_id] = attempts + 1
                except RuntimeError as error:
                    yield request, failures.refusal(error)

    def _ended(self, passage: _PromptRuns) -> bool:
        """Take in what has come; whether that is all."""
        ended = True
        for (handle, sequence), scores in zip(passage.inside, passage.scores, strict=True):
            while handle.can_read():
                for output in handle.read().values():
                    scores += output.generated_log_probs
            status = handle.get_status()
            if status == _RUNNING:
                ended = False
            else:
                passage.starved |= status == _IGNORED
                self._batch.ended(sequence)
        return ended

    def drop(self, request: TextRequest) -> bool:
        """Whether its runs were inside; they are gone after the next step."""
        _, passage = self._passages.pop(request.request_id, (None, None))
        self._attempts.pop(request.request_id, None)
        if passage is not None:
            self._stop(passage)
        return passage is not None

    def abandon(self) -> list[TextRequest]:
        """Drop everything."""
        requests = [request for request, _ in self._passages.values()]
        for request in requests:
            self.drop(request)
        if self._check is not None:
            for passage in self._check:
                self._stop(passage)
            self._check, self._checked = None, False
        return requests


def _joined(passage: _PromptRuns) -> list[float] | None:
    """The prompt's scores; None if the pipeline has not computed them all."""
    scores: list[float] = []
    for run, given in zip(passage.runs, passage.scores, strict=True):
        if len(given) != len(run.ids) + 1:  # the one of a generated token is the last
            return None
        scores += given[run.start : run.end]
    return scores


def _agree(expected: list[float] | None, given: list[float] | None) -> bool:
    if expected is None or given is None:
        return False
    pairs = list(zip(expected[1:], given[1:], strict=True))
    return sum(abs(one - other) for one, other in pairs) <= _SAME * len(pairs)
