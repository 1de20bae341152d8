"""Durations as people write them: 10m, 1h30m, 45 (seconds), -1 (indefinitely). Pure."""

import re

import click

from frontend.cli.usage import WrongUsage
from frontend.shortened import quoted

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"({_PART.pattern})+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FOR_EVER = -1.0


def parse_duration(text: str) -> float | None:
    """Seconds; negative: indefinitely. None if it is no duration."""
    word = text.strip().lower()
    if word in ("forever", "never"):
        return _FOR_EVER
    sign = -1.0 if word.startswith("-") else 1.0
    bare = word.removeprefix("-")
    if re.fullmatch(r"\d+(\.\d+)?", bare):
        return sign * float(bare)
    if not _WHOLE.fullmatch(bare):
        return None
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(bare))


def shown_duration(seconds: float) -> str:
    """The two largest units: 1h 30m, 4m 10s, 12s."""
    whole = max(0, round(seconds))
    units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
    parts = []
    for unit, size in units:
        count, whole = divmod(whole, size)
        parts.append((count, unit))
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count or len(parts) == 1)


def _checked(_: click.Context, option: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    seconds = parse_duration(value)
    if seconds is None:
        raise WrongUsage(
            f"{option.opts[0]}: must be a duration such as 10m, 1h30m or 45, not {quoted(value)}"
        )
    return seconds


keep_alive_option = click.Option(
    ["--keep-alive"],
    metavar="TIME",
    callback=_checked,
    help="How long the model stays loaded while idle, such as 10m; 0: not at all; -1: indefinitely.",
)
