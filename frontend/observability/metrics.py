"""Prometheus metrics: those of the whole server, and what code counts for a model or a replica.

Names, labels and buckets of models and replicas are in `families.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from frontend.observability.families import REQUEST_BUCKETS, ModelFamilies, ReplicaFamilies
from frontend.observability.vllm import CacheConfig, EndedSequence, Ours, Sequences, VllmNames

CONTENT_TYPE = CONTENT_TYPE_LATEST
Names = Literal["all", "nacelle", "vllm"]

# Otherwise each counter and histogram has a second family, with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One server's metrics, in a registry of their own so that tests may have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.vllm_registry = CollectorRegistry()  # the same server under vLLM's names
        self.requests = Counter(
            "nacelle_requests",
            "HTTP requests, by the status and the outcome of their responses",
            ("route", "status", "outcome"),
            registry=self.registry,
        )
        self.http_seconds = Histogram(
            "nacelle_http_request_duration_seconds",
            "From an HTTP request's head to the last byte of its response",
            ("route",),
            registry=self.registry,
            buckets=REQUEST_BUCKETS,
        )
        self.http_bytes = Counter(
            "nacelle_http_response_bytes", "Bytes of response bodies", ("route",), registry=self.registry
        )
        self.variant_requests = Counter(
            "nacelle_variant_requests",
            "HTTP requests for a set of variants, by the model that was picked",
            ("variants", "model", "outcome"),
            registry=self.registry,
        )
        self.cache_requests = Counter(
            "nacelle_response_cache_requests",
            "Requests that the response cache looked at",
            ("result",),
            registry=self.registry,
        )
        self.cache_bytes = Gauge(
            "nacelle_response_cache_bytes", "Bytes of cached answers", registry=self.registry
        )
        self.limit_refusals = Counter(
            "nacelle_limit_refusals",
            "Requests refused by a limit of a caller or of the server on requests, tokens or concurrency",
            ("of", "limit"),
            registry=self.registry,
        )
        self._batches = Gauge(
            "nacelle_batches", "Batches that are not done, by state", ("state",), registry=self.registry
        )
        self.batch_requests = Counter(
            "nacelle_batch_requests",
            "Requests of batches, by what became of them: completed, failed, retried or unmade",
            ("result",),
            registry=self.registry,
        )
        self._registry_gauges: list[Gauge] = []  # only where there is a registry of models
        self._models = ModelFamilies(self.registry)
        self._replicas = ReplicaFamilies(self.registry)
        self._sequences = Sequences(self.vllm_registry)
        self._vllm = VllmNames(_twins(self._models, self._replicas))
        self.vllm_registry.register(self._vllm)
        self._by_model: dict[str, ModelMetrics] = {}

    def of_model(self, model: str) -> "ModelMetrics":
        if model not in self._by_model:
            self._sequences.begin(model)
            families = (self._models, self._replicas, self._sequences, self._vllm)
            self._by_model[model] = ModelMetrics(*families, model)
        return self._by_model[model]

    def forget_model(self, model: str) -> None:
        """Its series end."""
        self._by_model.pop(model, None)
        self._models.forget(model)
        self._replicas.forget(model)
        self._sequences.forget(model)
        self._vllm.caches.pop(model, None)

    def batch_states(self, counts: Mapping[str, int]) -> None:
        """Of batches, by state."""
        for state, count in counts.items():
            self._batches.labels(state).set(count)

    def registry_state(self, up: bool, models: int, at: float | None) -> None:
        """Of the registry of models: its `models` are served; it last answered `at`, in Unix seconds."""
        if not self._registry_gauges:
            self._registry_gauges = [
                Gauge(f"nacelle_registry_{name}", what, registry=self.registry)
                for name, what in (
                    ("up", "1 if the registry of models answered the last time with a valid document"),
                    ("models", "Models of the registry that are served"),
                    ("last_success_timestamp_seconds", "When it last answered so, in Unix seconds"),
                )
            ]
        for gauge, value in zip(self._registry_gauges, (up, models, at or 0.0), strict=True):
            gauge.set(value)

    def render(self, names: Names = "all", may_see: Callable[[str], bool] | None = None) -> bytes:
        """The Prometheus text exposition; with `may_see`, without the series of other models."""
        ours = b"" if names == "vllm" else _exposition(self.registry, may_see)
        return ours if names == "nacelle" else ours + _exposition(self.vllm_registry, may_see)


def _exposition(registry: CollectorRegistry, may_see: Callable[[str], bool] | None) -> bytes:
    return generate_latest(registry if may_see is None else _Seen(registry, may_see))


class _Seen(CollectorRegistry):
    """What may be seen of another registry."""

    def __init__(self, registry: CollectorRegistry, may_see: Callable[[str], bool]) -> None:
        super().__init__()
        self._whole = registry
        self._may_see = may_see

    def collect(self) -> Iterator[Metric]:
        for family in self._whole.collect():
            family.samples = [sample for sample in family.samples if self._is_seen(sample.labels)]
            yield family

    def _is_seen(self, labels: Mapping[str, str]) -> bool:
        model = labels.get("model", labels.get("model_name"))
        return model is None or self._may_see(model)


def _twins(models: ModelFamilies, replicas: ReplicaFamilies) -> Ours:
    return Ours(
        queued=models.queued,
        running=replicas.running,
        waiting=replicas.waiting,
        kv_usage=replicas.kv_usage,
        prompt_tokens=models.prompt_tokens,
        generated_tokens=models.generated_tokens,
        time_to_first_token=models.time_to_first_token,
        inter_token=models.inter_token,
        request_seconds=models.request_seconds,
        queue_seconds=models.queue_wait,
    )


class ModelMetrics:
    """One model's children of every family."""

    def __init__(
        self,
        families: ModelFamilies,
        replicas: ReplicaFamilies,
        sequences: Sequences,
        vllm: VllmNames,
        model: str,
    ) -> None:
        self._model = model
        self._sequences = sequences
        self._vllm = vllm
        self.queued = families.queued.labels(model)
        self.on_trial = families.on_trial.labels(model)
        self.request_seconds = families.request_seconds.labels(model)
        self.time_to_first_token = families.time_to_first_token.labels(model)
        self.inter_token = families.inter_token.of(model)
        self.prompt_tokens = families.prompt_tokens.labels(model)
        self.generated_tokens = families.generated_tokens.of(model)
        self.audio_seconds = cache(lambda: families.audio_seconds.labels(model))  # no series for other tasks
        self.spoken_seconds = cache(lambda: families.spoken_seconds.labels(model))
        self.time_to_first_audio = cache(lambda: families.time_to_first_audio.labels(model))
        self.rehearsed = families.rehearsed.labels(model)
        self.resumed = families.resumed.labels(model)
        self.restarted = families.restarted.labels(model)
        self.blamed = families.blamed.labels(model)
        self.refused = families.refused.labels(model)
        self.regenerated_tokens = families.regenerated_tokens.labels(model)
        self.recovery_seconds = families.recovery_seconds.labels(model)
        self.host_recovery_seconds = families.host_recovery_seconds.labels(model)
        self.loaded = families.loaded.labels(model)
        self.load_seconds = families.load_seconds.labels(model)
        self.queue_wait = cache(lambda kind: families.queue_wait.labels(model, kind))
        self.loads = cache(lambda result: families.loads.labels(model, result))
        self.unloads = cache(lambda reason: families.unloads.labels(model, reason))
        self.of_replica = cache(lambda number: ReplicaMetrics(replicas, model, str(number)))

    def ended(self, sequence: EndedSequence) -> None:
        """A sequence of a text generation has ended, however it did."""
        self._sequences.count(self._model, sequence)

    def kv_cache(self, cache: CacheConfig) -> None:
        """What its replicas have."""
        self._vllm.caches[self._model] = cache


class ReplicaMetrics:
    """One replica's children of every family."""

    def __init__(self, families: ReplicaFamilies, model: str, replica: str) -> None:
        self._families = families
        self._labels = (model, replica)
        self.running = families.running.labels(model, replica)
        self.waiting = families.waiting.labels(model, replica)
        self.kv_usage = families.kv_usage.labels(model, replica)
        self.resident_bytes = families.resident_bytes.labels(model, replica)

    def leased_bytes(self, arena: str) -> Gauge:
        return self._families.leased_bytes.labels(*self._labels, arena)

    def state(self, state: str) -> Gauge:
        return self._families.host_state.labels(*self._labels, state)

    def restarts(self, reason: str) -> Counter:
        return self._families.host_restarts.labels(*self._labels, reason)
