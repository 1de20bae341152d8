"""What a tuning found, for people and for programs."""

from typing import Any

import msgspec
from rich.table import Table

from bench import noise
from bench.stats import median
from bench.tuning.configuration import Change, Configuration, is_property
from bench.tuning.search import Search, Trial

_STYLES = {"accepted": "green", "failed": "red", "results differ": "yellow"}
_REASON_CHARACTERS = 80
_CHANGE_WIDTH, _RESULT_WIDTH = 20, 14


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `ratio` is the median of its pairs, changed ÷ unchanged; None if none was measured."""

    change: str
    outcome: str
    ratio: float | None
    lowest: float | None
    highest: float | None
    pairs: int
    agreement: float | None
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `nacelle tune`."""

    model: str
    device: str
    goal: str
    unit: str  # of the speeds, per second
    speed_before: float
    speed_after: float
    gain: float
    gain_range: tuple[float, float] | None
    kept: bool
    changes: dict[str, Any]  # what the winner sets
    agreement_threshold: float | None
    agreement_before: float | None
    noise: float
    seconds: float
    complete: bool
    trials: list[Row]
    notes: list[str]


def rows(search: Search) -> list[Row]:
    return [_row(trial) for trial in search.trials]


def _row(trial: Trial) -> Row:
    ratios = trial.ratios
    return Row(
        change=trial.change.text,
        outcome=trial.outcome,
        ratio=median(ratios) if ratios else None,
        lowest=min(ratios, default=None),
        highest=max(ratios, default=None),
        pairs=len(ratios),
        agreement=trial.agreement,
        reason=trial.reason,
    )


def changes(before: Configuration, after: Configuration) -> list[Change]:
    """What one configuration has other than another."""
    return [Change(name, value) for name, value in after.items() if before[name] != value]


def settings_of(winner: Configuration, defaults: Configuration) -> tuple[dict[str, str], dict[str, Any]]:
    """What to keep: OpenVINO properties, and model settings that differ from their defaults."""
    properties = {
        name: str(value) for name, value in winner.items() if is_property(name) and value is not None
    }
    others = {name: value for name, value in winner.items() if not is_property(name)}
    return properties, {name: value for name, value in others.items() if value != defaults.get(name)}


def table(report: Report) -> Table:
    shown = Table(title=_title(report))
    shown.add_column("change", overflow="fold", min_width=_CHANGE_WIDTH)
    shown.add_column("result", overflow="fold", min_width=_RESULT_WIDTH)
    for heading in ("speed", "range", "agreement"):
        shown.add_column(heading)
    for row in report.trials:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f} ×"
        spread = "" if row.lowest is None else f"{row.lowest:.3f} – {row.highest:.3f}"
        agreement = "" if row.agreement is None else f"{row.agreement:.3f}"
        outcome = row.outcome + (f": {row.reason[:_REASON_CHARACTERS]}" if row.reason else "")
        shown.add_row(row.change, outcome, ratio, spread, agreement, style=_STYLES.get(row.outcome))
    return shown


def _title(report: Report) -> str:
    return f"{report.model} on {report.device}, for {report.goal}"


def summary(report: Report) -> list[str]:
    """The lines below the table."""
    lines = []
    if report.gain_range is None:
        lines.append(f"No change was accepted: {report.speed_before:.1f} {report.unit}/s as before.")
    else:
        low, high = report.gain_range
        speeds = f"{report.speed_before:.1f} → {report.speed_after:.1f} {report.unit}/s"
        lines.append(f"Together: {report.gain:.3f} × ({low:.3f} – {high:.3f}), {speeds}.")
    if report.agreement_threshold is not None:
        lines.append(
            f"Agreement is the share of greedy results equal to those in f32; at least "
            f"{report.agreement_threshold:.3f} was required, the start has {report.agreement_before:.3f}."
        )
    if not report.complete:
        lines.append("Time ran out before all changes were tried: allow more with --minutes.")
    if (warning := noise.warning(report.noise)) is not None:
        lines.append(warning)
    return [*lines, *report.notes]
