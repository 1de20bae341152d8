"""The frontend without a model: `nacelle serve synthetic:0` against a bare Falcon loop, both at full speed.

Both servers, including Nacelle's synthetic host, are pinned to the same core, and the client to the others.
"""

import contextlib
import os
import sys

from bench import figures, load
from bench.figures import Figure, Pair, median_pair, summarize_flawless
from bench.server import Server, free_port, nacelle_command, pinned
from bench.stats import median
from bench.workload import Workload

_STREAMS = 64
_TOKENS = 2048  # per stream, a second or two of work
_MODEL_NAME = "synthetic"
_START_SECONDS = 60.0


def frontend_alone(pairs: int) -> Figure:
    """Streamed tokens/s of Nacelle with its synthetic engine ÷ those of a bare Falcon SSE loop.

    The median of the pairs' ratios, which ranged from 0.4 to 1.0 while other processes used the machine. If
    the client used up its own core, the baseline may be faster than measured and the ratio too high: the
    note reports how busy the client was.
    """
    *others, server_core = sorted(os.sched_getaffinity(0))
    measured: list[Pair] = []
    busiest = 0.0
    with contextlib.ExitStack() as stack:
        with pinned([server_core]):
            ours = stack.enter_context(_nacelle())
            bare = stack.enter_context(_bare())
        ours.wait_for(f"/ready/{_MODEL_NAME}", _START_SECONDS)
        bare.wait_for("/health", _START_SECONDS)
        stack.enter_context(pinned(others or [server_core]))
        for pair in range(pairs + 1):
            speeds = {}
            for server in (ours, bare):
                speeds[server], busy = _tokens_per_second(server, seed=pair)
                busiest = max(busiest, busy)
            measured.append(Pair(speeds[ours], speeds[bare]))
    del measured[0]  # warmed both up
    ratios = [pair.ratio for pair in measured]
    middle = median_pair(measured)
    note = f"{middle.ours:,.0f} of {middle.yardstick:,.0f} tokens/s, {_STREAMS} streams"
    note += f"; the client used up to {busiest:.0%} of its core"
    return Figure(figures.FRONTEND, median(ratios), ratios, pairs=measured, note=note)


def _nacelle() -> Server:
    port = free_port()
    return Server([*nacelle_command(), "serve", "synthetic:0", "--port", str(port)], port)


def _bare() -> Server:
    port = free_port()
    return Server([sys.executable, "-P", "-m", "bench.bare_sse", "--port", str(port)], port)


def _tokens_per_second(server: Server, seed: int) -> tuple[float, float]:
    """Output tokens/s, and the share of its core that the client used."""
    workload = Workload(
        requests=_STREAMS,
        max_tokens=_TOKENS,
        prompt_words=8,
        seed=seed,
        concurrency=_STREAMS,
        ignore_eos=True,
    )
    run = load.run(load.Target(server.base_url, _MODEL_NAME), workload)
    return summarize_flawless(run.records).output_tokens_per_second, run.client_busy
