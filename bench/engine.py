"""`nacelle bench engine`: the raw ContinuousBatchingPipeline under the same load, no server around it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
import msgspec
import psutil
from rich.console import Console

from bench import report
from bench.engine_child import Loaded, Measured, Reply
from bench.errors import EngineFailed
from bench.options import json_option, workload_options
from bench.stats import RequestRecord, Summary, summarize
from bench.workload import Workload
from frontend.cli.terminal import TerminalReporter
from frontend.config_sources import load_settings
from frontend.models.placement import launch_of
from frontend.models.resolve import preparer_for
from ipc.channel import send_launch
from ipc.messages import Launch

_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class EngineProcess:
    """A raw pipeline in a child process, idle between workloads. As a context manager, it ends itself."""

    def __init__(self, launch: Launch) -> None:
        """Load the model, which takes seconds. Raises EngineFailed."""
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.engine_child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._commands = cast(BinaryIO, self._child.stdin)
        self._replies = cast(BinaryIO, self._child.stdout)
        send_launch(self._commands, launch)
        try:
            loaded = self._receive()
        except EngineFailed:
            self._end()
            raise
        assert isinstance(loaded, Loaded)
        self.load_seconds = loaded.seconds

    def run(self, workload: Workload) -> list[RequestRecord]:
        """The records of a closed loop. Raises EngineFailed."""
        self._commands.write(msgspec.json.encode(workload) + b"\n")
        self._commands.flush()
        measured = self._receive()
        assert isinstance(measured, Measured)
        return measured.records

    def _receive(self) -> Reply:
        line = self._replies.readline()
        if not line:
            raise EngineFailed(f"the raw engine's process ended with status {self._child.wait()}")
        return _reply_decoder.decode(line)

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()  # closes the pipes and waits


def launch_like_a_server(model: str) -> Launch:
    """The launch of `nacelle serve MODEL`, NACELLE_ variables included. Fetches the model if need be."""
    settings = load_settings(models=[model], environ=os.environ)
    with TerminalReporter() as reporter:
        prepared = preparer_for(settings.store, reporter).prepare(settings.models[0])
    return launch_of(prepared, settings, psutil.virtual_memory().available, 1)


class EngineResults(msgspec.Struct, frozen=True):
    """The JSON file's results. `load_seconds` is the pipeline's load alone."""

    model: str
    device: str
    properties: dict[str, str]
    load_seconds: float
    workload: Workload
    summary: Summary


@click.command("engine", short_help="Load the raw pipeline, with no server around it.")
@click.argument("model")
@workload_options
@json_option
def engine(model: str, json_path: Path | None, **asked: Any) -> None:
    """Load MODEL, a catalogue name or a path, into a raw pipeline and run a closed loop on it.

    Settings come from NACELLE_ variables, as for `nacelle serve`. Text prompts go in as they are, without a
    chat template, as the completions endpoint has it.
    """
    workload = msgspec.convert(asked, Workload)
    launch = launch_like_a_server(model)
    try:
        with EngineProcess(launch) as process:
            process.run(msgspec.structs.replace(workload, requests=1, seed=workload.seed - 1))  # warms up
            summary = summarize(process.run(workload))
    except EngineFailed as error:
        raise click.ClickException(str(error)) from error
    console = Console()
    report.show_summary(f"{model} on {launch.device}, raw pipeline", summary, console)
    results = EngineResults(model, launch.device, launch.properties, process.load_seconds, workload, summary)
    console.print(f"JSON: {report.write(results, 'engine', json_path)}", markup=False)
    if not summary.completed:
        raise SystemExit(1)
