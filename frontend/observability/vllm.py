"""The metrics of vLLM whose meaning ours have too, under vLLM's names and labels.

What we count anyway is read when the metrics are asked for; the rest is counted once per sequence, at its
end. All replicas of a model share one queue, so they are one engine, "0". docs/observability.md lists which
of vLLM's names are missing, and why.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, Protocol, get_args

import msgspec
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from frontend.observability.collectors import Counts, Times

ENGINE = "0"
_LABELS = ("model_name", "engine")

# vLLM's buckets, so that its dashboards and recorded rules find the bounds that they name.
_LATENCY = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_PER_TOKEN = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
_TOKENS = tuple(mantissa * 10.0**exponent for exponent in range(6) for mantissa in (1, 2, 5))

FinishedReason = Literal["stop", "length", "abort", "error"]


class EndedSequence(msgspec.Struct, frozen=True):
    """A choice of a text generation that has ended. Times are seconds on the monotonic clock."""

    reason: FinishedReason
    sent_at: float | None  # when it was first sent to a host
    first_token_at: float | None
    last_token_at: float | None
    prompt_tokens: int | None  # None: no host has accepted it
    cached_tokens: int
    generated_tokens: int


class Sequences:
    """The families that are counted at the end of a sequence."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def times(name: str, what: str, bounds: tuple[float, ...]) -> Times:
            return Times(f"vllm:{name}", what, bounds, _LABELS)

        def counts(name: str, what: str, *more: str) -> Counts:
            return Counts(f"vllm:{name}", what, (*_LABELS, *more))

        self.success = counts("request_success", "Sequences that have ended, by reason", "finished_reason")
        self.prefix_queries = counts("prefix_cache_queries", "Prompt tokens looked up in the prefix cache")
        self.prefix_hits = counts("prefix_cache_hits", "Prompt tokens found in the prefix cache")
        self.prefill = times("request_prefill_time_seconds", "From a host to the first token", _LATENCY)
        self.decode = times("request_decode_time_seconds", "From the first token to the last", _LATENCY)
        self.inference = times("request_inference_time_seconds", "From a host to the last token", _LATENCY)
        self.per_token = times(
            "request_time_per_output_token_seconds", "Mean time per token after the first", _PER_TOKEN
        )
        self.prompt_tokens = times("request_prompt_tokens", "Tokens of the prompt", _TOKENS)
        self.generation_tokens = times("request_generation_tokens", "Tokens generated", _TOKENS)
        for family in self._families:
            registry.register(family)

    @property
    def _families(self) -> list[Times | Counts]:
        return [family for family in vars(self).values() if isinstance(family, Times | Counts)]

    def begin(self, model: str) -> None:
        """Its series begin with 0, so that a rate of the first event is one."""
        for reason in get_args(FinishedReason):
            self.success.of(model, ENGINE, reason)
        for family in self._families:
            if family is not self.success:
                family.of(model, ENGINE)

    def forget(self, model: str) -> None:
        for family in self._families:
            family.forget(model)

    def count(self, model: str, ended: EndedSequence) -> None:
        self.success.of(model, ENGINE, ended.reason).add(1)
        if ended.prompt_tokens is None or ended.first_token_at is None or ended.last_token_at is None:
            return
        self.prefix_queries.of(model, ENGINE).add(ended.prompt_tokens)
        self.prefix_hits.of(model, ENGINE).add(ended.cached_tokens)
        if ended.reason in ("abort", "error"):
            return  # their lengths and times say nothing about the model
        self.prompt_tokens.of(model, ENGINE).observe(ended.prompt_tokens)
        self.generation_tokens.of(model, ENGINE).observe(ended.generated_tokens)
        decode = ended.last_token_at - ended.first_token_at
        self.decode.of(model, ENGINE).observe(decode)
        if ended.generated_tokens > 1:
            self.per_token.of(model, ENGINE).observe(decode / (ended.generated_tokens - 1))
        if ended.sent_at is not None:
            self.prefill.of(model, ENGINE).observe(ended.first_token_at - ended.sent_at)
            self.inference.of(model, ENGINE).observe(ended.last_token_at - ended.sent_at)


class Collected(Protocol):
    """A family of ours."""

    def collect(self) -> Iterable[Metric]: ...


class Ours(msgspec.Struct, frozen=True):
    """Our families that have a twin of vLLM's."""

    queued: Collected
    running: Collected
    waiting: Collected
    kv_usage: Collected
    prompt_tokens: Collected
    generated_tokens: Collected
    time_to_first_token: Collected
    inter_token: Collected
    request_seconds: Collected
    queue_seconds: Collected


class CacheConfig(msgspec.Struct, frozen=True):
    """One replica's KV cache."""

    block_size: int  # tokens
    blocks: int


_QUEUE_TIME = "From a sequence's arrival to its dispatch to an engine"


class VllmNames(Collector):
    """Reads our families."""

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self.caches: dict[str, CacheConfig] = {}  # by model

    def collect(self) -> Iterable[Metric]:
        ours = self._ours
        running, waiting, queued = map(_by_model, (ours.running, ours.waiting, ours.queued))
        models = sorted({*running, *waiting, *queued})
        yield _gauge("num_requests_running", "Sequences that engines compute", _sums(models, running))
        yield _gauge("num_requests_waiting", "Sequences that wait", _sums(models, waiting, queued))
        usage = {model: sum(shares) / len(shares) for model, shares in _by_model(ours.kv_usage).items()}
        yield _gauge("kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1", usage)
        yield _gauge("gpu_cache_usage_perc", "The name of kv_cache_usage_perc in older versions", usage)
        yield _renamed(ours.prompt_tokens, "prompt_tokens")
        yield _renamed(ours.generated_tokens, "generation_tokens")
        yield _renamed(ours.time_to_first_token, "time_to_first_token_seconds")
        yield _renamed(ours.inter_token, "inter_token_latency_seconds")
        yield _renamed(ours.inter_token, "time_per_output_token_seconds")
        yield _renamed(ours.request_seconds, "e2e_request_latency_seconds")
        yield _renamed(ours.queue_seconds, "request_queue_time_seconds", _QUEUE_TIME)
        yield self._cache_config()

    def _cache_config(self) -> Metric:
        labels = (*_LABELS, "block_size", "num_gpu_blocks")
        family = GaugeMetricFamily("vllm:cache_config_info", "The KV cache of each replica", labels=labels)
        for model, cache in self.caches.items():
            family.add_metric((model, ENGINE, str(cache.block_size), str(cache.blocks)), 1)
        return family


def _by_model(family: Collected) -> dict[str, list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    for metric in family.collect():
        for sample in metric.samples:
            values[sample.labels["model"]].append(sample.value)
    return values


def _sums(models: Iterable[str], *families: dict[str, list[float]]) -> dict[str, float]:
    return {model: sum(sum(family.get(model, ())) for family in families) for model in models}


def _gauge(name: str, what: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"vllm:{name}", what, labels=_LABELS)
    for model, value in values.items():
        family.add_metric((model, ENGINE), value)
    return family


def _renamed(family: Collected, name: str, help_text: str = "") -> Metric:
    """The same series with vLLM's name and labels; labels that vLLM does not have are summed over.
    `help_text`: where the one of our family does not apply."""
    (metric,) = family.collect()
    sums: dict[tuple[str, str, str | None], float] = defaultdict(float)
    for sample in metric.samples:
        suffix = sample.name.removeprefix(metric.name)
        sums[suffix, sample.labels["model"], sample.labels.get("le")] += sample.value
    renamed = Metric(f"vllm:{name}", help_text or metric.documentation, metric.type)
    for (suffix, model, bound), value in sums.items():
        labels = {"model_name": model, "engine": ENGINE, **({} if bound is None else {"le": bound})}
        renamed.add_sample(f"vllm:{name}{suffix}", labels, value)
    return renamed
