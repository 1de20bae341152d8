"""`nacelle doctor`: looks for what keeps this machine from serving models, with a remedy for each finding."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frontend.cli.options import config_option

if TYPE_CHECKING:
    from frontend.doctor.facts import Finding, Level

_MARKS: "dict[Level, tuple[str, str]]" = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "red"),
}


@click.command(
    params=[
        config_option,
        click.Option(["--json", "as_json"], is_flag=True, help="Print the findings and the facts as JSON."),
    ],
)
def doctor(config: Path | None, as_json: bool) -> None:
    """Check this machine: devices, drivers, memory, disks, ports, versions.

    Each device computes a token in a process of its own, with the smallest text model in the store. Exit
    status 1 if a line says FAIL; warnings do not count.
    """
    from frontend.doctor.checks import diagnose, exit_status
    from frontend.doctor.collect import collect

    facts = collect(os.environ, config, _report)
    findings = diagnose(facts)
    if as_json:
        import msgspec

        text = msgspec.json.format(
            msgspec.json.encode({"findings": findings, "facts": facts}, order="sorted")
        )
        click.echo(text)
    else:
        for line in lines(findings):
            click.echo(line)
    raise SystemExit(exit_status(findings))


def _report(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{text} …", err=True)


def lines(findings: "list[Finding]") -> list[str]:
    """The findings, aligned, each remedy below its line; a summary last."""
    width = max((len(finding.area) for finding in findings), default=0)
    shown = []
    for finding in findings:
        mark, color = _MARKS[finding.level]
        shown.append(f"{click.style(mark, fg=color)}  {finding.area:<{width}}  {finding.text}")
        if finding.remedy:
            shown.append(f"{'':<{width + 6}}  → {finding.remedy}")
    return [*shown, "", _summary(findings)]


def _summary(findings: "list[Finding]") -> str:
    counts = {level: sum(finding.level == level for finding in findings) for level in _MARKS}
    if not counts["warn"] and not counts["fail"]:
        return "Nothing is wrong."
    parts = [
        f"{count} {noun}{'s' * (count != 1)}"
        for count, noun in ((counts["fail"], "failure"), (counts["warn"], "warning"))
        if count
    ]
    return " and ".join(parts) + ": see the lines with → above."
