"""Per-request records → the figures of a run: TTFT, TPOT, ITL, E2E, throughput, goodput, failures.

TTFT  time to first token: request sent → first text
TPOT  time per output token: first text → last text, over the tokens after the first
ITL   inter-token latency: the gaps between one request's events; 0 between events of one packet
E2E   request sent → response complete
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeVar

import msgspec

Number = TypeVar("Number", int, float)
TokenSource = Literal["usage", "events", "engine"]


class RequestRecord(msgspec.Struct):
    """What happened to one request. Times are seconds of one clock within a run."""

    started: float
    finished: float
    arrivals: list[float] = []  # when text arrived, one entry per event; empty if not streamed
    prompt_tokens: int | None = None
    output_tokens: int = 0
    counted_from: TokenSource = "usage"
    audio_seconds: float | None = None  # heard or spoken
    finish_reason: str | None = None
    failure: str | None = None  # its kind; None for a request that succeeded
    detail: str | None = None  # the server's description of a failure

    @property
    def e2e(self) -> float:
        return self.finished - self.started

    @property
    def ttft(self) -> float | None:
        return self.arrivals[0] - self.started if self.arrivals else None

    @property
    def tpot(self) -> float | None:
        if len(self.arrivals) < 2 or self.output_tokens < 2:
            return None
        return (self.arrivals[-1] - self.arrivals[0]) / (self.output_tokens - 1)

    @property
    def itl(self) -> list[float]:
        return [after - before for before, after in pairwise(self.arrivals)]


class Distribution(msgspec.Struct, frozen=True):
    """In milliseconds."""

    mean: float
    p50: float
    p90: float
    p99: float


class Slo(msgspec.Struct, frozen=True):
    """Maximum latencies of a request that counts as good, in milliseconds. None is no limit."""

    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None


class Goodput(msgspec.Struct, frozen=True):
    """`share` is of all requests, including failed ones; `requests_per_second` counts the good ones."""

    slo: Slo
    share: float
    requests_per_second: float


class Summary(msgspec.Struct, frozen=True):
    """The figures of a run. Tokens, rates and latencies are those of successful requests."""

    requests: int
    completed: int
    failures: dict[str, int]
    failure_details: dict[str, str]  # one example of each kind
    finish_reasons: dict[str, int]
    duration: float  # seconds, first request sent → last response complete
    prompt_tokens: int | None  # None if the server does not report them
    output_tokens: int
    counted_from: list[TokenSource]
    requests_per_second: float
    prompt_tokens_per_second: float | None
    output_tokens_per_second: float
    ttft: Distribution | None
    tpot: Distribution | None
    itl: Distribution | None
    e2e: Distribution | None
    goodput: Goodput | None = None
    audio_seconds: float | None = None  # None if it is not known for each request
    audio_seconds_per_second: float | None = None


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the sorted, non-empty values lie, interpolated linearly."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def median(values: Sequence[float]) -> float:
    """The median of a non-empty sequence."""
    return percentile(sorted(values), 0.5)


def distribution(seconds: Sequence[float | None]) -> Distribution | None:
    """The distribution in milliseconds of the values that are not None; None if there are no values."""
    ordered = sorted(value * 1000 for value in seconds if value is not None)
    if not ordered:
        return None
    p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    return Distribution(sum(ordered) / len(ordered), p50, p90, p99)


def parse_slo(text: str) -> Slo:
    """Parse limits in milliseconds such as `ttft:200,tpot:50,e2e:4000`, any of them. Raises ValueError."""
    asked: dict[str, float] = {}
    for part in text.split(","):
        name, _, limit = part.partition(":")
        if name not in Slo.__struct_fields__ or name in asked:
            raise ValueError(f"expected each of ttft:MS, tpot:MS, e2e:MS at most once, not {part!r}")
        asked[name] = float(limit)
        if not asked[name] > 0:
            raise ValueError(f"a latency in milliseconds must be above 0, not {limit!r}")
    return Slo(**asked)


def meets(record: RequestRecord, slo: Slo) -> bool:
    """Whether the request succeeded within every limit. A latency that could not be measured misses its
    limit, except the TPOT of a single token."""
    if record.failure is not None:
        return False
    tpot = 0.0 if record.tpot is None and record.output_tokens <= 1 else record.tpot
    measured = ((record.ttft, slo.ttft), (tpot, slo.tpot), (record.e2e, slo.e2e))
    return all(limit is None or (value is not None and value * 1000 <= limit) for value, limit in measured)


def summarize(records: Sequence[RequestRecord], slo: Slo | None = None) -> Summary:
    """Compute the figures of a run. Raises ValueError if there was no request."""
    if not records:
        raise ValueError("a run without requests has no figures")
    good = [record for record in records if record.failure is None]
    duration = max(record.finished for record in records) - min(record.started for record in records)
    per_second = 1 / duration if duration > 0 else 0.0
    output_tokens = sum(record.output_tokens for record in good)
    prompt_tokens = _sum_if_known([record.prompt_tokens for record in good])
    audio_seconds = _sum_if_known([record.audio_seconds for record in good])
    return Summary(
        requests=len(records),
        completed=len(good),
        failures=dict(Counter(record.failure for record in records if record.failure is not None)),
        failure_details={
            record.failure: record.detail or "" for record in records if record.failure is not None
        },
        finish_reasons=dict(Counter(record.finish_reason or "none" for record in good)),
        duration=duration,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        counted_from=sorted({record.counted_from for record in good}),
        requests_per_second=len(good) * per_second,
        prompt_tokens_per_second=None if prompt_tokens is None else prompt_tokens * per_second,
        output_tokens_per_second=output_tokens * per_second,
        ttft=distribution([record.ttft for record in good]),
        tpot=distribution([record.tpot for record in good]),
        itl=distribution([gap for record in good for gap in record.itl]),
        e2e=distribution([record.e2e for record in good]),
        goodput=None if slo is None else goodput(records, slo, per_second),
        audio_seconds=audio_seconds,
        audio_seconds_per_second=None if audio_seconds is None else audio_seconds * per_second,
    )


def _sum_if_known(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def goodput(records: Sequence[RequestRecord], slo: Slo, per_second: float) -> Goodput:
    """`per_second` is 1 / the run's duration."""
    met = sum(meets(record, slo) for record in records)
    return Goodput(slo, met / len(records), met * per_second)
