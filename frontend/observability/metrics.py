"""Prometheus metrics: every name, label and bucket is written here once."""

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
from prometheus_client.metrics import MetricWrapperBase

from frontend.observability.collectors import Counts, Times
from frontend.observability.vllm import CacheConfig, EndedSequence, Ours, Sequences, VllmNames

CONTENT_TYPE = CONTENT_TYPE_LATEST
Names = Literal["all", "nacelle", "vllm"]

# Otherwise each counter and histogram has a second family, with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]

_FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1, 2.5)
_HTTP = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_WHOLE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_RECOVERY = (0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 13, 20, 30, 60, 120)


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
            buckets=_HTTP,
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
        self._models = _ModelFamilies(self.registry)
        self._replicas = _ReplicaFamilies(self.registry)
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


def _twins(models: "_ModelFamilies", replicas: "_ReplicaFamilies") -> Ours:
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
        families: "_ModelFamilies",
        replicas: "_ReplicaFamilies",
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

    def __init__(self, families: "_ReplicaFamilies", model: str, replica: str) -> None:
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


class _ModelFamilies:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, what: str) -> Counter:
            return Counter(f"nacelle_{name}", what, ("model",), registry=registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"nacelle_{name}_seconds", what, ("model",), registry=registry, buckets=buckets)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"nacelle_{name}", what, ("model",), registry=registry)

        self.queued = gauge("requests_queued", "Sequences that wait in the frontend")
        self.on_trial = gauge("requests_on_trial", "Sequences that are tried alone, since their host died")
        self.queue_wait = Histogram(
            "nacelle_queue_wait_seconds",
            "From a sequence's arrival to its dispatch to an engine, by class: interactive or batch",
            ("model", "class"),
            registry=registry,
            buckets=_HTTP,
        )
        self.request_seconds = histogram("request", "From a sequence's arrival to its end", _WHOLE)
        self.time_to_first_token = histogram(
            "time_to_first_token", "From a sequence's arrival to its first token", _FIRST_TOKEN
        )
        self.inter_token = Times(
            "nacelle_inter_token_seconds", "Between two tokens of a sequence", _BETWEEN_TOKENS
        )
        registry.register(self.inter_token)
        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens accepted")
        self.generated_tokens = Counts("nacelle_generated_tokens", "Tokens generated")
        registry.register(self.generated_tokens)
        self.audio_seconds = counter("audio_seconds", "Seconds of audio transcribed")
        self.spoken_seconds = counter("spoken_seconds", "Seconds of audio that texts were read aloud in")
        self.time_to_first_audio = histogram(
            "time_to_first_audio", "From a text's arrival to the audio of its first sentence", _FIRST_TOKEN
        )
        self.rehearsed = counter("rehearsed", "Prompts computed again for a host that had lost its cache")
        self.resumed = counter("resumed", "Sequences continued after the death of their host")
        self.restarted = counter("restarted", "Sequences sent whole again after the death of their host")
        self.blamed = counter("blamed", "Sequences ended because they kill hosts")
        self.refused = counter("refused", "Requests refused because their like was blamed")
        self.regenerated_tokens = counter("regenerated_tokens", "Tokens that deaths made generate twice")
        self.recovery_seconds = histogram(
            "recovery", "From the death of a sequence's host to its next token", _RECOVERY
        )
        self.host_recovery_seconds = histogram(
            "host_recovery", "From the death of a host to the readiness of the next", _RECOVERY
        )

        self.loaded = gauge("model_loaded", "1 while the model is loaded")
        self.load_seconds = histogram(
            "model_load", "From the decision to load a model to its readiness", _WHOLE
        )
        self.loads = Counter(
            "nacelle_model_loads",
            "Loads of a model, by their result: loaded, failed or out_of_memory",
            ("model", "result"),
            registry=registry,
        )
        self.unloads = Counter(
            "nacelle_model_unloads",
            "Times that a model was unloaded, by the reason: room, idle, asked, failed or memory",
            ("model", "reason"),
            registry=registry,
        )

    def forget(self, model: str) -> None:
        for family in vars(self).values():
            if isinstance(family, Times | Counts):
                family.forget(model)
            else:
                _forget(family, model)


def _forget(family: MetricWrapperBase, model: str) -> None:
    """Remove all children whose first label is the model."""
    family.remove_by_labels({"model": model})


class _ReplicaFamilies:
    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("model", "replica")

        def gauge(name: str, what: str, *more: str) -> Gauge:
            return Gauge(f"nacelle_{name}", what, (*labels, *more), registry=registry)

        self.running = gauge("requests_running", "Sequences that the engine is computing")
        self.waiting = gauge("requests_waiting", "Sequences that wait inside the host")
        self.kv_usage = gauge("kv_cache_usage", "Share of the KV cache in use, 0 to 1")
        self.resident_bytes = gauge("host_resident_bytes", "Resident memory of the host")
        self.leased_bytes = gauge("arena_leased_bytes", "Bytes leased in a shared-memory arena", "arena")
        self.host_state = gauge("host_state", "1 for the state a host is in", "state")
        self.host_restarts = Counter(
            "nacelle_host_restarts",
            "Host restarts, by the cause of the death before",
            (*labels, "reason"),
            registry=registry,
        )

    def forget(self, model: str) -> None:
        for family in vars(self).values():
            _forget(family, model)
