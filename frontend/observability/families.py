"""The metric families of models and replicas: every name, label and bucket is written here once."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from frontend.observability.collectors import Counts, Times

# Upper bounds in seconds.
_FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1, 2.5)
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_WHOLE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_RECOVERY = (0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 13, 20, 30, 60, 120)


class ModelFamilies:
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
            buckets=REQUEST_BUCKETS,
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


class ReplicaFamilies:
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
