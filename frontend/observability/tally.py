"""What was answered since the start and lately, by model: for people, as metrics are for Prometheus.

A request counts when its last byte has been sent, with all of its tokens.
"""

from collections import Counter, deque
from collections.abc import Callable

import msgspec

WINDOWS = {"1m": 60.0, "5m": 300.0, "15m": 900.0}
BUCKET_SECONDS = 10.0
MODELS = 256  # that are told apart

_BUCKETS = round(max(WINDOWS.values()) / BUCKET_SECONDS) + 1


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    model: str | None
    outcome: str
    seconds: float
    first_token_seconds: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Rates(msgspec.Struct, frozen=True):
    """Per second, by window."""

    requests: dict[str, float]
    prompt_tokens: dict[str, float]
    completion_tokens: dict[str, float]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    outcomes: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    mean_seconds: float | None  # of successful requests; None where there were none
    mean_first_token_seconds: float | None
    per_second: Rates


class Tally:
    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._began = clock()
        self._all = _Account()
        self._models: dict[str, _Account] = {}

    @property
    def uptime_seconds(self) -> float:
        return self._clock() - self._began

    @property
    def models(self) -> list[str]:
        return list(self._models)

    def add(self, ended: Ended) -> None:
        slot = int(self._clock() / BUCKET_SECONDS)
        self._all.add(ended, slot)
        if ended.model is None:
            return
        if ended.model not in self._models and len(self._models) >= MODELS:
            del self._models[next(iter(self._models))]
        self._models.setdefault(ended.model, _Account()).add(ended, slot)

    def totals(self, model: str | None = None) -> Totals:
        """Of one model; None: of all requests, also those for no model."""
        account = self._all if model is None else self._models.get(model, _Account())
        return account.totals(self._clock(), self.uptime_seconds)


class _Bucket:
    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.counts = [0, 0, 0]  # requests, prompt tokens, completion tokens


class _Account:
    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._tokens = [0, 0]
        self._seconds = _Mean()
        self._first_token = _Mean()
        self._buckets: deque[_Bucket] = deque(maxlen=_BUCKETS)  # oldest first

    def add(self, ended: Ended, slot: int) -> None:
        self._outcomes[ended.outcome] += 1
        counts = (1, ended.prompt_tokens, ended.completion_tokens)
        self._tokens = [self._tokens[0] + counts[1], self._tokens[1] + counts[2]]
        if ended.outcome == "ok":
            self._seconds.add(ended.seconds)
        if ended.first_token_seconds is not None:
            self._first_token.add(ended.first_token_seconds)
        if not self._buckets or self._buckets[-1].slot != slot:
            self._buckets.append(_Bucket(slot))
        last = self._buckets[-1]
        last.counts = [count + more for count, more in zip(last.counts, counts, strict=True)]

    def totals(self, now: float, uptime: float) -> Totals:
        rates = [self._rates(kind, now, uptime) for kind in range(3)]
        return Totals(
            requests=self._outcomes.total(),
            outcomes=dict(self._outcomes),
            prompt_tokens=self._tokens[0],
            completion_tokens=self._tokens[1],
            mean_seconds=self._seconds.value,
            mean_first_token_seconds=self._first_token.value,
            per_second=Rates(*rates),
        )

    def _rates(self, kind: int, now: float, uptime: float) -> dict[str, float]:
        """Over each window, or since the start where that is shorter."""
        found = {}
        for name, seconds in WINDOWS.items():
            first = int((now - seconds) / BUCKET_SECONDS) + 1
            count = sum(bucket.counts[kind] for bucket in self._buckets if bucket.slot >= first)
            found[name] = round(count / max(BUCKET_SECONDS, min(seconds, uptime)), 4)
        return found


class _Mean:
    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        self._sum += value
        self._count += 1

    @property
    def value(self) -> float | None:
        return round(self._sum / self._count, 4) if self._count else None
