"""The figures, charts and summary of `nacelle bench soak`."""

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import msgspec

from bench import timeline
from bench.kills import Kill
from bench.soak_run import Soak, SoakSample, by_signal
from bench.stats import median

WARM_UP = 0.25  # of the time
GROWTH_LIMIT = 1.0  # MiB a minute of the frontend
_SPREAD = 0.03  # of the descriptors, or this many if there are few:
_DESCRIPTORS = 3


class EndpointFigures(msgspec.Struct, frozen=True):
    """The requests of one endpoint; latencies in seconds, None if none succeeded."""

    requests: int
    failed: int
    wrong: int
    p50: float | None
    p95: float | None


class SoakResults(msgspec.Struct, frozen=True):
    """The JSON file's results. Memory in MiB (PSS), times in seconds."""

    models: dict[str, str]
    clients: int
    replicas: int
    kill_every: float
    seconds: float
    endpoints: dict[str, EndpointFigures]
    failures: dict[str, int]
    faults: list[str]  # why the run has failed; empty if it has not
    frontend_growth: float | None  # MiB a minute after the warm-up
    hosts_growth: float | None
    descriptors_before: float | None  # median of the first quarter after the warm-up
    descriptors_after: float | None  # and of the last quarter
    kills: list[Kill]
    recoveries: list[float]
    other_deaths: float
    blamed: float
    orphans: int
    left_in_shm: list[str]
    samples: list[SoakSample]


def theil_sen(points: Sequence[tuple[float, float]]) -> float | None:
    """The median slope of all pairs of points; None if there are no two at different times.

    A few outliers, such as a sample during a collection of garbage, do not move it.
    """
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(slopes) if slopes else None


def warm(soak: Soak) -> list[SoakSample]:
    """The samples after the warm-up."""
    return [sample for sample in soak.samples if sample.at >= soak.seconds * WARM_UP]


def growth(soak: Soak, of: Callable[[SoakSample], float]) -> float | None:
    """Per minute after the warm-up."""
    return theil_sen([(sample.at / 60, of(sample)) for sample in warm(soak)])


def descriptors(soak: Soak) -> tuple[float | None, float | None]:
    """Medians of the first and of the last quarter after the warm-up. The number varies, as killed hosts take
    theirs with them."""
    counts = [sample.descriptors for sample in warm(soak)]
    quarter = -(-len(counts) // 4)
    return (median(counts[:quarter]), median(counts[-quarter:])) if counts else (None, None)


def faults(soak: Soak) -> list[str]:
    """What must not have happened, in words."""
    found = [f"{soak.failed} requests failed or were answered wrongly"] if soak.failed else []
    found += [f"{name} got no answer" for name, count in soak.endpoints.items() if not count.done]
    grown = growth(soak, lambda sample: sample.frontend)
    if grown is not None and grown >= GROWTH_LIMIT:
        found.append(f"the frontend grew by {grown:.2f} MiB a minute, limit {GROWTH_LIMIT:g}")
    before, after = descriptors(soak)
    if before is not None and after is not None and after - before > max(_DESCRIPTORS, _SPREAD * before):
        found.append(f"the frontend's descriptors grew from {before:g} to {after:g}")
    if len(soak.recoveries) < len(soak.kills):
        found.append(f"{len(soak.kills) - len(soak.recoveries)} kills without a recovery")
    counted = {
        "hosts died that nobody killed": soak.other_deaths,
        "requests were blamed for a death": soak.blamed,
        "hosts were left behind": soak.orphans,
    }
    found += [f"{count:g} {what}" for what, count in counted.items() if count]
    return found + [f"{name} was left in /dev/shm" for name in soak.left_in_shm]


def results(
    soak: Soak, models: dict[str, str], clients: int, replicas: int, kill_every: float
) -> SoakResults:
    before, after = descriptors(soak)
    return SoakResults(
        models=models,
        clients=clients,
        replicas=replicas,
        kill_every=kill_every,
        seconds=soak.seconds,
        endpoints={
            name: EndpointFigures(
                count.done, count.failed, count.wrong, count.latency(0.5), count.latency(0.95)
            )
            for name, count in sorted(soak.endpoints.items())
        },
        failures=soak.failures,
        faults=faults(soak),
        frontend_growth=growth(soak, lambda sample: sample.frontend),
        hosts_growth=growth(soak, lambda sample: sample.hosts),
        descriptors_before=before,
        descriptors_after=after,
        kills=soak.kills,
        recoveries=soak.recoveries,
        other_deaths=soak.other_deaths,
        blamed=soak.blamed,
        orphans=soak.orphans,
        left_in_shm=soak.left_in_shm,
        samples=soak.samples,
    )


# By name of the chart: its title, its unit, and what it shows of each sample.
_CHARTS: dict[str, tuple[str, str, Callable[[SoakSample], float]]] = {
    "memory": ("Memory of the frontend (PSS)", "MiB", lambda sample: sample.frontend),
    "hosts": ("Memory of all hosts (PSS)", "MiB", lambda sample: sample.hosts),
    "descriptors": ("Descriptors of the frontend", "", lambda sample: sample.descriptors),
    "latency": ("Latency of all requests, p95", "s", lambda sample: sample.p95 or 0.0),
}


def charts(found: SoakResults) -> dict[str, str]:
    """By name, SVG pictures over time, with the kills marked."""
    end = max([found.seconds, *(sample.at for sample in found.samples)])  # later if a recovery was waited for
    width = end / max(1, len(found.samples))
    pictures = {
        name: timeline.svg(title, [of(sample) for sample in found.samples], width, found.kills, 0.0, unit)
        for name, (title, unit, of) in _CHARTS.items()
    }
    done = [0, *(sample.done for sample in found.samples)]
    rates = [(after - before) / width for before, after in pairwise(done)]
    title = "Requests of all endpoints"
    return pictures | {"requests": timeline.svg(title, rates, width, found.kills, 0.0, "requests/s")}


def summary(found: SoakResults, pictures: Sequence[Path]) -> str:
    """Markdown, with links to the pictures, which are in the same folder."""
    signals = ", ".join(f"{count} {name}" for name, count in by_signal(found.kills).items())
    recovery = f"{median(found.recoveries):.1f} s" if found.recoveries else "–"
    requests = sum(figures.requests for figures in found.endpoints.values())
    failed = sum(figures.failed + figures.wrong for figures in found.endpoints.values())
    lines = [
        f"## A soak of {found.seconds / 60:g} minutes",
        "",
        f"Models: {', '.join(f'{source} ({name})' for name, source in found.models.items())}; "
        f"{found.replicas} replica(s) each, {found.clients} clients, a kill every {found.kill_every:g} s.",
        "",
        "| | |",
        "|---|---|",
        f"| requests | {requests} |",
        f"| failed or answered wrongly | {failed} |",
        f"| kills | {len(found.kills)}: {signals} |",
        f"| recovery, median | {recovery} |",
        f"| frontend, PSS | {_range(found.samples, lambda sample: sample.frontend)} MiB, "
        f"{_signed(found.frontend_growth)} MiB a minute after warm-up |",
        f"| hosts, PSS together | {_range(found.samples, lambda sample: sample.hosts)} MiB, "
        f"{_signed(found.hosts_growth)} MiB a minute |",
        f"| descriptors | {_plain(found.descriptors_before)} after warm-up, "
        f"{_plain(found.descriptors_after)} at the end |",
        f"| verdict | {'; '.join(found.faults) or 'passed'} |",
        "",
        "| endpoint | requests | failed | wrong | p50 | p95 |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {figures.requests} | {figures.failed} | {figures.wrong} | {_seconds(figures.p50)} "
        f"| {_seconds(figures.p95)} |"
        for name, figures in found.endpoints.items()
    ]
    lines += [f"- {count} × {why}" for why, count in found.failures.items()]
    lines += [f"\n![{path.stem.rpartition('.')[2]}]({path.name})" for path in pictures]
    return "\n".join(lines) + "\n"


def _range(samples: Sequence[SoakSample], of: Callable[[SoakSample], float]) -> str:
    values = [of(sample) for sample in samples]
    return f"{min(values):.0f} to {max(values):.0f}" if values else "–"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f} s"
