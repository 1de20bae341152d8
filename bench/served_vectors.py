"""What serving adds to the raw embedding pipeline, which gets all texts at once, sorted by length."""

from itertools import count

from bench import figures, load
from bench.engine_process import EngineProcess
from bench.errors import RunFailed
from bench.figures import Budget, Figure, Pair, median_pair, summarize_flawless
from bench.kills import Observer, total
from bench.served import MODEL_NAME
from bench.server import Server
from bench.stats import RequestRecord, median
from bench.vectors import VectorWorkload

_WORDS = 14
_SPREAD = 0.8
_REQUESTS = 2000  # of each side in each pair
_INPUTS = 2048  # the most that one request may have


class VectorSides:
    """A server with one host, and a raw pipeline with the same model."""

    def __init__(self, server: Server, raw: EngineProcess) -> None:
        self.server = server
        self._raw = raw
        self._target = load.Target(server.base_url, MODEL_NAME)
        self._observer = Observer(server, MODEL_NAME)
        self._seeds = count()

    def workload(self, requests: int, inputs: int, concurrency: int = 1) -> VectorWorkload:
        """A workload with texts that neither side has seen."""
        return VectorWorkload(
            task="embeddings",
            requests=requests,
            inputs=inputs,
            prompt_words=_WORDS,
            spread=_SPREAD,
            seed=next(self._seeds),
            concurrency=concurrency,
        )

    def ask(self) -> None:
        """One short request to the server."""
        self.served(self.workload(1, 1))

    def warm_up(self, concurrency: int) -> None:
        """Let both sides allocate what they need, and the raw one find its best call."""
        workload = self.workload(8 * concurrency, 1, concurrency)
        self.served(workload)
        self.raw(workload)

    def raw(self, workload: VectorWorkload) -> float:
        """Tokens/s."""
        return _tokens_per_second(self._raw.run(workload))

    def served(self, workload: VectorWorkload) -> float:
        """Tokens/s. Raises RunFailed if a request failed, or if shared memory did not become free."""
        rate = _tokens_per_second(load.run(self._target, workload).records)
        if leased := total(self._observer.metrics(), "nacelle_arena_leased_bytes"):
            raise RunFailed(f"{leased:g} bytes of shared memory are still leased after the run")
        return rate


def many_requests(sides: VectorSides, concurrency: int, pairs: int) -> Figure:
    """Tokens/s of requests with one short input each, served ÷ raw: the median of the pairs' ratios."""
    measured, cpu = [], []
    for _ in range(pairs):
        workload = sides.workload(_REQUESTS, 1, concurrency)
        raw = sides.raw(workload)
        before = sides.server.cpu_seconds()
        served = sides.served(workload)
        cpu.append(1e6 * (sides.server.cpu_seconds() - before) / _REQUESTS)
        measured.append(Pair(served, raw))
    note = f"the frontend used {median(cpu):.0f} µs of CPU per request"
    return _figure(figures.SERVED_MANY, measured, f"concurrency {concurrency}", note)


def one_request(sides: VectorSides, pairs: int) -> Figure:
    """Tokens/s of a single request with as many inputs as it may have, served ÷ raw."""
    measured = []
    for _ in range(pairs):
        workload = sides.workload(1, _INPUTS)
        raw, served = sides.raw(workload), sides.served(workload)
        measured.append(Pair(served, raw))
    return _figure(figures.SERVED_LARGE, measured, f"{_INPUTS} inputs")


def _figure(budget: Budget, measured: list[Pair], variant: str, note: str = "") -> Figure:
    ratios, middle = [pair.ratio for pair in measured], median_pair(measured)
    rates = f"served {middle.ours:.0f}, raw {middle.yardstick:.0f} tokens/s"
    return Figure(budget, median(ratios), ratios, variant, measured, "; ".join(filter(None, (rates, note))))


def _tokens_per_second(records: list[RequestRecord]) -> float:
    rate = summarize_flawless(records).prompt_tokens_per_second
    if rate is None:
        raise RunFailed("the server does not report prompt tokens")
    return rate
