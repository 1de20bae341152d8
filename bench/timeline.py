"""A chart of a run in plain SVG: one value over time, with the kills marked."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.kills import Kill

_WIDTH, _HEIGHT = 960, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 50, 40
_COLOURS = {"SIGKILL": "#c0392b", "SIGSEGV": "#8e44ad", "SIGABRT": "#d35400", "SIGSTOP": "#2c7fb8"}
_STYLE = """
  text { font: 12px sans-serif; fill: #333 } .title { font-size: 15px } .axis { stroke: #888 }
  .grid { stroke: #8884 } .line { fill: none; stroke: #2a9d5c; stroke-width: 1.5 } .paper { fill: #fff }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .paper { fill: #16181c } }
"""


def rates(arrivals: Sequence[float], start: float, end: float, bin_seconds: float) -> list[float]:
    """Tokens per second in each bin from `start` to `end`."""
    bins = [0] * max(1, -(-int((end - start) * 1000) // int(bin_seconds * 1000)))
    for arrival in arrivals:
        if start <= arrival < end:
            bins[min(len(bins) - 1, int((arrival - start) / bin_seconds))] += 1
    return [count / bin_seconds for count in bins]


def svg(
    title: str,
    values: Sequence[float],
    bin_seconds: float,
    kills: Sequence[Kill],
    start: float,
    unit: str = "tokens/s",
) -> str:
    """The chart. `start` is the time of the first bin, on the clock of the kills."""
    seconds = len(values) * bin_seconds
    highest = max([*values, 1.0])

    def x(at: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * at / seconds, 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / highest, 1)

    points = " ".join(f"{x((i + 0.5) * bin_seconds)},{y(value)}" for i, value in enumerate(values))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="20">{escape(title)}</text>',
        *_legend(),
        *_axes(x, y, seconds, highest, unit),
        *(_mark(x(kill.time - start), kill) for kill in kills),
        f'<polyline class="line" points="{points}"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> list[str]:
    return [
        f'<line x1="{_LEFT + 110 * i}" x2="{_LEFT + 110 * i + 16}" y1="34" y2="34" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="4 2"/><text x="{_LEFT + 110 * i + 22}" y="38">{name}</text>'
        for i, (name, colour) in enumerate(_COLOURS.items())
    ]


def _axes(x, y, seconds: float, highest: float, unit: str) -> list[str]:  # type: ignore[no-untyped-def]
    step = next(s for s in (1, 2, 5, 10, 20, 60, 120, 300, 10**9) if seconds / s <= 12)
    parts = [
        f'<line class="axis" x1="{x(0)}" x2="{x(seconds)}" y1="{y(0)}" y2="{y(0)}"/>',
        f'<text x="{_WIDTH - _RIGHT - 60}" y="{_HEIGHT - 6}">seconds</text>',
        f'<text x="4" y="{_TOP - 12}">{escape(unit)}</text>',
    ]
    for value in (0.0, highest / 2, highest):
        parts.append(f'<line class="grid" x1="{x(0)}" x2="{x(seconds)}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:.0f}</text>')
    for at in range(0, int(seconds) + 1, step):
        parts.append(f'<text x="{x(at)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{at}</text>')
    return parts


def _mark(at: float, kill: Kill) -> str:
    return (
        f'<line class="kill" x1="{at}" x2="{at}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" '
        f'stroke="{_COLOURS[kill.signal]}" stroke-width="1.5" stroke-dasharray="4 2">'
        f"<title>{kill.signal} to replica {kill.replica}</title></line>"
    )
