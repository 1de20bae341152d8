"""`nacelle tune`: measures with which settings a model is fastest on this machine, and keeps them."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from frontend.cli.notes import print_notes
from frontend.cli.options import STORE_OPTION, config_option, layer_of, option_for
from frontend.cli.terminal import TerminalReporter
from frontend.config import ModelSettings, Settings
from frontend.config_found import settings_here

_START = (
    "device task library engine properties threads kv_cache_precision context_length max_num_seqs "
    "max_num_batched_tokens max_batch_tokens"
).split()


_OPTIONS = [
    click.Option(
        ["--for", "goal"],
        type=click.Choice(["mixed", "latency", "throughput", "prefill"]),
        default="mixed",
        show_default=True,
        help="What to make faster: prompts and answers of several clients at once, one answer at a time, "
        "many answers at once, or the reading of prompts.",
    ),
    click.Option(
        ["--minutes"],
        type=click.FloatRange(0, 10_000, min_open=True),
        default=15.0,
        show_default=True,
        help="Time after which no further change is tried.",
    ),
    click.Option(
        ["--concurrency"],
        type=click.IntRange(1, 1024),
        default=8,
        show_default=True,
        help="Requests in flight for --for mixed and throughput.",
    ),
    click.Option(
        ["--draft-model"], metavar="MODEL", help="Also try speculative decoding with this draft model."
    ),
    click.Option(
        ["--prompt-lookup"],
        is_flag=True,
        help="Also try prompt lookup decoding, with prompts that repeat their words.",
    ),
    click.Option(
        ["--min-agreement"],
        type=click.FloatRange(0, 1),
        help="Refuse changes with which fewer greedy tokens equal those in f32: 0 to 1. Default: 0.97 (for "
        "vectors, a cosine of 0.995), or as many as the start has.",
    ),
    click.Option(["--dry-run"], is_flag=True, help="Show what would be tried, and measure nothing."),
    click.Option(["--reset"], is_flag=True, help="Forget what was found for this model."),
    click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
]


@click.command(
    params=[
        click.Argument(["model"], metavar="MODEL"),
        *_OPTIONS,
        *(option_for(ModelSettings, name) for name in _START),
        STORE_OPTION,
        config_option,
    ],
    epilog="Nothing is kept unless the winner is at least 1.02 times as fast as the start. Explicit settings "
    "of nacelle serve override what was found.",
)
def tune(
    model: str,
    dry_run: bool,
    reset: bool,
    as_json: bool,
    config: Path | None,
    store: str | None,
    **options: Any,
) -> None:
    """Find the settings with which a model is fastest here.

    Compares one change after another with the best so far, in alternating pairs of throw-away processes, and
    keeps the winner in the store, from where nacelle serve takes it. Needs memory for two copies of MODEL and
    a machine that does nothing else. The other options are the settings to start with.
    """
    from bench.tuning import command

    settings, notes = settings_here(
        layer_of(Settings, {"store": store}),
        layer_of(ModelSettings, {name: options.pop(name) for name in _START}),
        [model],
        config,
        os.environ,
    )
    print_notes(notes)
    with TerminalReporter() as reporter:
        if reset:
            command.reset(settings, reporter)
            click.echo(f"{settings.models[0].name} is served with its own settings again.")
            return
        request = command.Request(**options)
        prepared = command.prepare(settings, request, reporter)
    if dry_run:
        for line in command.planned(prepared):
            click.echo(line)
        return
    tuning = command.run(prepared, request, reporter, _tell)
    if tuning.is_worth_keeping:
        command.keep(prepared, tuning)
    earlier = not tuning.is_worth_keeping and command.is_tuned(prepared)
    _show(command.report_of(prepared, tuning, kept=tuning.is_worth_keeping), as_json, earlier=earlier)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _show(report: Any, as_json: bool, *, earlier: bool) -> None:
    """`earlier`: an earlier tuning stays in force."""
    import msgspec

    from bench.tuning.report import summary, table

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
        return
    from rich.console import Console

    console = Console(file=sys.stdout)
    console.print(table(report))
    for line in summary(report):
        console.print(line, markup=False, highlight=False)
    console.print(outcome(report.model, kept=report.kept, earlier=earlier))


def outcome(model: str, *, kept: bool, earlier: bool) -> str:
    """The last line: what nacelle serve uses from now on."""
    undo = f"Undo with: nacelle tune {model} --reset"
    if kept:
        return f"Kept: nacelle serve uses it from now on. {undo}"
    if earlier:
        return f"Nothing new was kept: nacelle serve still uses an earlier tuning. {undo}"
    return "Nothing was kept."
