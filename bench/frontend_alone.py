"""The frontend without a model: `nacelle serve synthetic:0` against a bare Falcon loop, both at full speed.

Both servers, including Nacelle's synthetic host, are pinned to the same core, and the client to the others.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from bench import figures, load
from bench.figures import Figure, Pair, median_pair, summarize_flawless
from bench.server import Server, free_port, nacelle_server, pinned
from bench.stats import median
from bench.workload import Workload

_STREAMS = 64
_TOKENS = 2048  # per stream, a second or two of work
SYNTHETIC = "synthetic"
START_SECONDS = 60.0


def frontend_alone(pairs: int) -> Figure:
    """Streamed tokens/s of Nacelle with its synthetic engine ÷ those of a bare Falcon SSE loop.

    The median of the pairs' ratios, which ranged from 0.4 to 1.0 while other processes used the machine. If
    the client used up its own core, the baseline may be faster than measured and the ratio too high: the
    note reports how busy the client was.
    """
    measured: list[Pair] = []
    busiest = 0.0
    with one_core_for([nacelle, _bare]) as (ours, bare):
        ours.wait_for(f"/ready/{SYNTHETIC}", START_SECONDS)
        bare.wait_for("/health", START_SECONDS)
        for pair in range(pairs + 1):
            speeds = {}
            for server in (ours, bare):
                target = load.Target(server.base_url, SYNTHETIC)
                speeds[server], busy = tokens_per_second(target, streaming(_STREAMS, _STREAMS, _TOKENS, pair))
                busiest = max(busiest, busy)
            measured.append(Pair(speeds[ours], speeds[bare]))
    del measured[0]  # warmed both up
    ratios = [pair.ratio for pair in measured]
    middle = median_pair(measured)
    note = f"{middle.ours:,.0f} of {middle.yardstick:,.0f} tokens/s, {_STREAMS} streams"
    note += f"; the client used up to {busiest:.0%} of its core"
    return Figure(figures.FRONTEND, median(ratios), ratios, pairs=measured, note=note)


@contextlib.contextmanager
def one_core_for(starts: Sequence[Callable[[], Server]]) -> Iterator[list[Server]]:
    """Servers that share one core with each other but not, if there are several cores, with this process."""
    *others, server_core = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        with pinned([server_core]):
            servers = [stack.enter_context(start()) for start in starts]
        stack.enter_context(pinned(others or [server_core]))
        yield servers


def nacelle(options: Sequence[str] = ()) -> Server:
    """A server of the synthetic engine at full speed."""
    return nacelle_server(f"{SYNTHETIC}:0", *options)


def _bare() -> Server:
    port = free_port()
    return Server([sys.executable, "-P", "-m", "bench.bare_sse", "--port", str(port)], port)


def streaming(requests: int, concurrency: int, tokens: int, seed: int) -> Workload:
    """Short prompts, answered by `tokens` tokens each."""
    return Workload(
        requests=requests,
        max_tokens=tokens,
        prompt_words=8,
        seed=seed,
        concurrency=concurrency,
        ignore_eos=True,
    )


def tokens_per_second(target: load.Target, workload: Workload) -> tuple[float, float]:
    """Output tokens/s, and the share of its core that the client used. Raises RunFailed."""
    run = load.run(target, workload)
    return summarize_flawless(run.records).output_tokens_per_second, run.client_busy
