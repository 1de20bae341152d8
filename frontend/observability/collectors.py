"""Counters and histograms for what happens once per token: prometheus_client's own locks cost more than the
rest of a token's way through the frontend. Written from the event loop only."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_MODEL = ("model",)


class Times(Collector):
    """A histogram, by labels of which the first is the model."""

    def __init__(
        self, name: str, what: str, bounds: Sequence[float], labels: tuple[str, ...] = _MODEL
    ) -> None:
        self._name = name
        self._what = what
        self._bounds = tuple(bounds)
        self._labels = labels
        self._series: dict[tuple[str, ...], Series] = {}

    def of(self, *values: str) -> "Series":
        return self._series.setdefault(values, Series(self._bounds))

    def forget(self, model: str) -> None:
        for values in [values for values in self._series if values[0] == model]:
            del self._series[values]

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._what, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, series in self._series.items():
            family.add_metric(values, list(zip(bounds, accumulate(series.counts), strict=True)), series.sum)
        yield family


class Counts(Collector):
    """A counter, by labels of which the first is the model."""

    def __init__(self, name: str, what: str, labels: tuple[str, ...] = _MODEL) -> None:
        self._name = name
        self._what = what
        self._labels = labels
        self._series: dict[tuple[str, ...], Count] = {}

    def of(self, *values: str) -> "Count":
        return self._series.setdefault(values, Count())

    def forget(self, model: str) -> None:
        for values in [values for values in self._series if values[0] == model]:
            del self._series[values]

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._what, labels=self._labels)
        for values, count in self._series.items():
            family.add_metric(values, count.total)
        yield family


class Count:
    total = 0

    def add(self, amount: int) -> None:
        self.total += amount


class Series:
    """One series of a histogram."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # by bucket, not accumulated
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value
