"""The cost of serving over the raw pipeline: throughput, time to first token, memory, recovery after a kill.

Both sides stay loaded, and only one works at a time. The client shares the server's cores, so its CPU time
counts against Nacelle.
"""

from collections.abc import Callable
from itertools import count

import msgspec

from bench import figures, load
from bench.engine_process import EngineProcess
from bench.figures import Figure, Pair, median_pair, summarize_flawless
from bench.server import Server, started_at
from bench.stats import Summary, median
from bench.workload import Workload

MODEL_NAME = "bench"
_READY = f"/ready/{MODEL_NAME}"
LOAD_SECONDS = 600.0
_KILLS = 3
_MAX_TOKENS = 128
_PROMPT_WORDS = 32
_PREFIX_TOKENS = 1000
_TTFT_REQUESTS = 20  # of each side in each pair


class CpuTimes(msgspec.Struct, frozen=True):
    """CPU time per output token, in microseconds. `host` and `raw` are the processes of the engines."""

    client: float
    frontend: float
    host: float
    raw: float


class Sides:
    """A server with one host, and a raw engine with the same model and settings."""

    def __init__(self, server: Server, raw: EngineProcess) -> None:
        self._raw = raw
        self.server = server
        self._target = load.Target(server.base_url, MODEL_NAME, endpoint="completions")
        self._seeds = count()

    def workload(self, concurrency: int, requests: int, max_tokens: int) -> Workload:
        """A workload with prompts that are in neither side's prefix cache."""
        return Workload(
            requests=requests,
            max_tokens=max_tokens,
            prompt_words=_PROMPT_WORDS,
            seed=next(self._seeds),
            concurrency=concurrency,
            ignore_eos=True,
        )

    def served(self, workload: Workload) -> Summary:
        return summarize_flawless(load.run(self._target, workload).records)

    def raw(self, workload: Workload) -> Summary:
        return summarize_flawless(self._raw.run(workload))

    def compare(self, workload: Workload) -> tuple[Pair, CpuTimes]:
        """Output tokens/s of both sides with the same prompts, and the CPU time that a token takes."""
        before = self._raw.cpu_seconds()
        raw = self.raw(workload)
        raw_cpu = self._raw.cpu_seconds() - before
        frontend, host = self.server.cpu_seconds(), self.server.hosts_cpu_seconds()
        run = load.run(self._target, workload)
        served = summarize_flawless(run.records)
        cpu = CpuTimes(
            client=1e6 * run.client_busy / served.output_tokens_per_second,
            frontend=1e6 * (self.server.cpu_seconds() - frontend) / served.output_tokens,
            host=1e6 * (self.server.hosts_cpu_seconds() - host) / served.output_tokens,
            raw=1e6 * raw_cpu / raw.output_tokens,
        )
        return Pair(served.output_tokens_per_second, raw.output_tokens_per_second), cpu

    def times_to_first_token(self, prefix_tokens: int) -> tuple[float, float]:
        """In milliseconds, of two consecutive prompts that begin with the same new tokens."""
        workload = Workload(
            requests=2,
            max_tokens=2,
            prompt_words=0,
            seed=next(self._seeds),
            prompt_tokens=_PROMPT_WORDS,
            shared_prefix_tokens=prefix_tokens,
            ignore_eos=True,
        )
        records = load.run(self._target, workload).records
        summarize_flawless(records)
        first, again = (1000 * (record.arrivals[0] - record.started) for record in records)
        return first, again

    def ask(self) -> None:
        """One short request to the server."""
        self.served(self.workload(1, requests=1, max_tokens=4))

    def warm_up(self, concurrency: int) -> None:
        """Let both sides allocate what they need at the highest load."""
        workload = self.workload(concurrency, requests=concurrency, max_tokens=16)
        self.served(workload)
        self.raw(workload)


def wait_until_loaded(server: Server, patience: float = LOAD_SECONDS) -> float:
    """Seconds from the spawn of the host's process until the server reports its model as ready."""
    ready = server.wait_for(_READY, patience)
    return ready - min(started_at(host.pid) for host in server.hosts())


def throughput(sides: Sides, concurrency: int, pairs: int) -> Figure:
    """Output tokens/s served ÷ raw: the median of the pairs' ratios.

    Both sides of a pair get the same prompts. A single pair proves little: with other processes on the
    machine, ratios from 0.65 to 1.9 were seen within one run.
    """
    compared = [
        sides.compare(sides.workload(concurrency, max(4, 2 * concurrency), _MAX_TOKENS)) for _ in range(pairs)
    ]
    measured = [pair for pair, _ in compared]
    ratios = [pair.ratio for pair in measured]
    note = f"{_medians(measured)} tokens/s; CPU per token: {_medians_of_cpu([cpu for _, cpu in compared])}"
    return Figure(figures.SERVED, median(ratios), ratios, f"concurrency {concurrency}", measured, note)


def first_token(sides: Sides, pairs: int) -> Figure:
    """Milliseconds that serving adds to the median time to first token: HTTP, routing, ipc and the client.

    The prefill takes about ten times longer and varies by more than the difference, hence medians of medians.
    """
    measured = []
    for _ in range(pairs):
        workload = sides.workload(1, _TTFT_REQUESTS, max_tokens=2)
        raw, served = sides.raw(workload).ttft, sides.served(workload).ttft
        assert raw is not None and served is not None, "two tokens have a first"
        measured.append(Pair(served.p50, raw.p50))
    added = [pair.ours - pair.yardstick for pair in measured]
    return Figure(figures.FIRST_TOKEN, median(added), added, pairs=measured, note=f"{_medians(measured)} ms")


def _medians(pairs: list[Pair]) -> str:
    middle = median_pair(pairs)
    return f"served {middle.ours:.1f}, raw {middle.yardstick:.1f}"


def _medians_of_cpu(times: list[CpuTimes]) -> str:
    who = CpuTimes.__struct_fields__
    return ", ".join(f"{name} {median([getattr(one, name) for one in times]):.0f}" for name in who) + " µs"


def shared_prefix(sides: Sides, pairs: int) -> Figure:
    """Time to first token of a prompt that shares its first 1000 tokens with the prompt before ÷ that of the
    prompt before. Their last tokens differ."""
    measured = []
    for _ in range(pairs):
        first, again = sides.times_to_first_token(_PREFIX_TOKENS)
        measured.append(Pair(again, first))
    ratios = [pair.ratio for pair in measured]
    middle = median_pair(measured)
    note = f"second {middle.ours:.1f}, first {middle.yardstick:.1f} ms"
    return Figure(figures.SHARED_PREFIX, median(ratios), ratios, pairs=measured, note=note)


def restart(server: Server, cold_load: float, request: Callable[[], object]) -> Figure:
    """Time from SIGKILL of the host until READY again ÷ time of its first load, as seen in /ready/MODEL.

    A `request` completes between kills, so that no restart is delayed by back-off. If the first load had to
    read the model from disk, the ratio looks better than it is.
    """
    samples = []
    for _ in range(_KILLS):
        samples.append(server.recovery_seconds(_READY, LOAD_SECONDS) / cold_load)
        request()
    return Figure(figures.RESTART, median(samples), samples, note=f"cold load {cold_load:.2f} s")


def idle_memory(server: Server) -> Figure:
    """Resident memory of the frontend process alone, in MiB. Varies by about 1 MiB."""
    resident = server.resident_mib()
    return Figure(figures.MEMORY, resident, [resident])
