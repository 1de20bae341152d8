"""`nacelle bench features`: what keys, limits, traces, logs and the response cache cost the frontend."""

import hashlib
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console

from bench import figures, load, noise, report
from bench.errors import RunFailed
from bench.figures import Figure, Pair, median_pair
from bench.frontend_alone import (
    START_SECONDS,
    SYNTHETIC,
    nacelle,
    one_core_for,
    streaming,
    tokens_per_second,
)
from bench.noise import Noise
from bench.options import json_option, positive_numbers
from bench.overhead import Judged
from bench.server import Server, free_port
from bench.stats import median

_NEVER = str(10**9)  # per minute: a limit that is counted but not reached

# By feature, the options of the server. "keys", "traces" and "idempotency" need more than options.
FEATURES: dict[str, list[str]] = {
    "keys": ["--api-keys-file", "{keys}"],
    "limits": [
        *("--requests-per-minute", _NEVER, "--tokens-per-minute", _NEVER, "--max-concurrent", "1000"),
        *("--total-requests-per-minute", _NEVER, "--total-tokens-per-minute", _NEVER),
        *("--total-max-concurrent", "1000"),
    ],
    "traces": ["--otel-endpoint", "{collector}"],
    "logs": ["--log-format", "json", "--log-level", "info"],
    "cache": ["--response-cache-bytes", str(64 * 2**20)],
    "idempotency": [],
}


class FeaturesResults(msgspec.Struct, frozen=True):
    """The JSON file's results."""

    features: list[str]
    tokens: int  # per answer
    others_busy: float  # share of the machine that other processes used meanwhile, 0 to 1
    figures: list[Judged]


@click.command(
    "features", short_help="Compare the frontend with keys, limits, traces, logs and cache on and off."
)
@click.option(
    "--feature",
    "chosen",
    type=click.Choice(list(FEATURES)),
    multiple=True,
    help="What is on, repeatable: which one costs how much. Default: all.",
)
@click.option(
    "--pairs", type=click.IntRange(1), default=9, show_default=True, help="Alternating measurements."
)
@click.option(
    "--concurrency", default="1,8,32", show_default=True, help="Requests in flight, comma-separated."
)
@click.option(
    "--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Output tokens per request."
)
@click.option(
    "--requests", type=click.IntRange(1), default=256, show_default=True, help="Requests per measurement."
)
@json_option
def features(
    chosen: tuple[str, ...],
    pairs: int,
    concurrency: str,
    max_tokens: int,
    requests: int,
    json_path: Path | None,
) -> None:
    """Compare two servers of synthetic tokens: a plain one, and one with API keys, limits, traces, JSON
    logs, a response cache and Idempotency-Keys.

    No two requests are equal, so none is answered from the cache. Requests without and with Idempotency-Keys
    are measured one after the other: with one, an answer is kept for its retries and not in the cache. Traces
    need the extra otel. Exits with status 1 if the second server streams less than 0.9 of the first one's
    tokens/s.
    """
    names = [name for name in FEATURES if not chosen or name in chosen]
    levels = positive_numbers(concurrency)
    console = Console()
    machine = Noise()
    found: list[Figure] = []
    try:
        for figure in _measure(names, pairs, levels, max_tokens, requests):
            found.append(figure)
            console.print(
                f"{figure.budget.what}, {figure.variant}: {figure.value:.3f}", style="dim", markup=False
            )
    except RunFailed as error:
        raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
    console.print(figures.table(found))
    others_busy = machine.share()
    if warning := noise.warning(others_busy):
        console.print(warning, style="red")
    judged = [Judged(figure, figure.verdict) for figure in found]
    results = FeaturesResults(names, max_tokens, others_busy, judged)
    console.print(f"JSON: {report.write(results, 'features', json_path)}", markup=False)
    if any(figure.verdict == "FAIL" for figure in found):
        raise SystemExit(1)


def options_of_features(names: Sequence[str], keys: str, collector: str) -> list[str]:
    """The server's options for these features; `keys` is a path, `collector` a URL."""
    return [option.format(keys=keys, collector=collector) for name in names for option in FEATURES[name]]


def keys_file(key: str) -> bytes:
    """A file of one key, which may do anything with any model."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return msgspec.json.encode(
        {"version": 1, "keys": [{"id": "key_bench", "name": "bench", "sha256": digest}]}
    )


def _measure(
    names: Sequence[str], pairs: int, levels: Sequence[int], tokens: int, requests: int
) -> Iterator[Figure]:
    key = os.urandom(24).hex()
    with tempfile.TemporaryDirectory() as folder, _collector() as collector:
        collector.wait_for("/health", START_SECONDS)
        keys = Path(folder, "keys.json")
        keys.touch(mode=0o600)
        keys.write_bytes(keys_file(key))
        options = options_of_features(names, str(keys), collector.base_url)
        start = [partial(nacelle, options), partial(nacelle, ["--log-level", "warning"])]
        with one_core_for(start) as (full, plain):
            for server in (full, plain):
                server.wait_for("/health", START_SECONDS)
            baseline = (plain, load.Target(plain.base_url, SYNTHETIC))
            api_key = key if "keys" in names else None
            for variant, idempotent in _variants(names).items():
                asked = load.Target(full.base_url, SYNTHETIC, api_key=api_key, idempotent=idempotent)
                for level in levels:
                    figure = _compare([(full, asked), baseline], level, pairs, tokens, requests)
                    yield msgspec.structs.replace(figure, variant=figure.variant + variant)
            if "traces" in names and not _exports(collector):
                raise RunFailed("the server exported no traces")


def _variants(names: Sequence[str]) -> dict[str, bool]:
    """What is measured, by name: whether requests have an Idempotency-Key. It replaces the cache."""
    without = {"": False} if set(names) != {"idempotency"} else {}
    return without | ({", each with an Idempotency-Key": True} if "idempotency" in names else {})


def _collector() -> Server:
    port = free_port()
    return Server([sys.executable, "-P", "-m", "bench.collector", "--port", str(port)], port)


def _exports(collector: Server) -> int:
    with urllib.request.urlopen(f"{collector.base_url}/exports", timeout=10) as answer:  # noqa: S310
        return int(answer.read())


def _compare(
    sides: Sequence[tuple[Server, load.Target]], level: int, pairs: int, tokens: int, requests: int
) -> Figure:
    """Alternating measurements. The first pair is not counted: it warms both servers up."""
    measured: list[Pair] = []
    cpu: list[float] = []
    for pair in range(pairs + 1):
        speeds: dict[Server, float] = {}
        used: dict[Server, float] = {}
        for server, target in sides if pair % 2 else reversed(sides):
            workload = streaming(requests, level, tokens, seed=1000 * level + pair)
            before = server.cpu_seconds()
            speeds[server], _ = tokens_per_second(target, workload)
            used[server] = server.cpu_seconds() - before
        full, plain = (server for server, _ in sides)
        measured.append(Pair(speeds[full], speeds[plain]))
        cpu.append(used[plain] / used[full])
    del measured[0], cpu[0]
    ratios = [pair.ratio for pair in measured]
    middle = median_pair(measured)
    note = f"{middle.ours:,.0f} of {middle.yardstick:,.0f} tokens/s"
    note += f"; tokens per CPU second of the frontend: {median(cpu):.3f}"
    return Figure(figures.FEATURES, median(ratios), ratios, f"{level} in flight", measured, note)
