"""A benchmark's output: tables on the terminal, and a JSON file with all results."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from bench.stats import Distribution, Goodput, Summary

_PACKAGES = (
    "nacelle-server",
    "openvino",
    "openvino-genai",
    "openvino-tokenizers",
    "falcon",
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "pyzmq",
)

Results = TypeVar("Results")


class Machine(msgspec.Struct, frozen=True):
    """The machine of a run. Memory in MiB."""

    cpu: str
    cores: int  # that this process may use
    memory: int
    system: str
    python: str
    versions: dict[str, str]


class Report(msgspec.Struct, Generic[Results], frozen=True):
    """The JSON file: one run of one command."""

    command: list[str]
    date: str  # ISO 8601, UTC
    machine: Machine
    results: Results


def machine() -> Machine:
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory=psutil.virtual_memory().total // 2**20,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=dict(_versions()),
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return found


def default_path(kind: str) -> Path:
    """The name of a new file in ./bench-results."""
    return Path("bench-results") / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"


def write(results: msgspec.Struct, kind: str, path: Path | None) -> Path:
    """Write the report as JSON to `path`, by default ./bench-results/KIND-DATE.json, and return the path."""
    now = datetime.now(UTC)
    path = path or default_path(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    report = Report(_without_secrets(command), now.isoformat(timespec="seconds"), machine(), results)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    return path


def _without_secrets(command: list[str]) -> list[str]:
    """The command line without its API key."""
    kept: list[str] = []
    for word in command:
        after_flag = bool(kept) and kept[-1] == "--api-key"
        kept.append("…" if after_flag else "--api-key=…" if word.startswith("--api-key=") else word)
    return kept


def show_summary(title: str, summary: Summary, console: Console) -> None:
    """Print one run."""
    console.print(_throughput_table(title, summary))
    console.print(_latency_table(summary))
    _show_failures(summary, console)


def show_vector_summary(title: str, summary: Summary, inputs: int, console: Console) -> None:
    """Print one run of requests with `inputs` inputs each."""
    rows = {
        "requests": f"{summary.completed} of {summary.requests} completed, {inputs} inputs each",
        **_vector_rows(summary, summary.completed * inputs),
        "requests/s": f"{summary.requests_per_second:.2f}",
        "E2E ms": _percentiles(summary.e2e),
    }
    if summary.goodput is not None:
        rows["goodput"] = _goodput(summary.goodput)
    console.print(_two_columns(title, rows))
    _show_failures(summary, console)


def show_audio_summary(title: str, summary: Summary, first: str, console: Console) -> None:
    """Print one run of requests for transcripts or for speech. `first` is what the time to first is of."""
    rows = {
        "requests": f"{summary.completed} of {summary.requests} completed",
        "duration": f"{summary.duration:.2f} s",
        "audio": _known(summary.audio_seconds, "s"),
        "real-time factor": _known(summary.audio_seconds_per_second, "s of audio per s"),
        "requests/s": f"{summary.requests_per_second:.2f}",
        f"time to first {first}, ms": _percentiles(summary.ttft),
        "E2E, ms": _percentiles(summary.e2e),
    }
    if empty := summary.finish_reasons.get("empty"):
        rows["empty transcripts"] = str(empty)
    if summary.goodput is not None:
        rows["goodput"] = _goodput(summary.goodput)
    console.print(_two_columns(title, rows))
    _show_failures(summary, console)


def _known(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.2f} {unit}"


def _percentiles(found: Distribution | None) -> str:
    if found is None:
        return "–"
    return f"mean {found.mean:.2f}, p50 {found.p50:.2f}, p90 {found.p90:.2f}, p99 {found.p99:.2f}"


def show_raw_vectors(title: str, summary: Summary, inputs: int, console: Console) -> None:
    """Print one run of `inputs` inputs on the raw pipeline."""
    rows = {"inputs": f"{inputs} in {summary.completed} calls", **_vector_rows(summary, inputs)}
    console.print(_two_columns(title, rows))


def _vector_rows(summary: Summary, inputs: int) -> dict[str, str]:
    tokens, rate = summary.prompt_tokens, summary.prompt_tokens_per_second
    return {
        "duration": f"{summary.duration:.2f} s",
        "tokens": "unknown" if tokens is None else str(tokens),
        "tokens/s": "unknown" if rate is None else f"{rate:.1f}",
        "inputs/s": f"{inputs / summary.duration:.1f}",
    }


def _two_columns(title: str, rows: dict[str, str]) -> Table:
    table = Table("", "", title=title, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _show_failures(summary: Summary, console: Console) -> None:
    for kind, example in summary.failure_details.items():
        console.print(f"{summary.failures[kind]} × {kind}: {example}", style="red", markup=False)


def _throughput_table(title: str, summary: Summary) -> Table:
    source = " and ".join(summary.counted_from)
    rows = {
        "requests": f"{summary.completed} of {summary.requests} completed",
        "duration": f"{summary.duration:.2f} s",
        "prompt tokens": "unknown" if summary.prompt_tokens is None else str(summary.prompt_tokens),
        "output tokens": f"{summary.output_tokens} (counted from {source})",
        "requests/s": f"{summary.requests_per_second:.2f}",
        "output tokens/s": f"{summary.output_tokens_per_second:.1f}",
        "finish reasons": ", ".join(f"{count} {name}" for name, count in summary.finish_reasons.items()),
    }
    if summary.goodput is not None:
        rows["goodput"] = _goodput(summary.goodput)
    return _two_columns(title, rows)


def _goodput(good: Goodput) -> str:
    return f"{good.requests_per_second:.2f} requests/s, {good.share:.1%} of requests"


def _latency_table(summary: Summary) -> Table:
    table = Table("ms", "mean", "p50", "p90", "p99")
    for column in table.columns[1:]:
        column.justify = "right"
    latencies: dict[str, Distribution | None] = {
        "TTFT": summary.ttft,
        "TPOT": summary.tpot,
        "ITL": summary.itl,
        "E2E": summary.e2e,
    }
    for name, found in latencies.items():
        values = ["–"] * 4 if found is None else [f"{value:.2f}" for value in msgspec.structs.astuple(found)]
        table.add_row(name, *values)
    return table
