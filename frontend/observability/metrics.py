"""Prometheus metrics: every name, label and bucket is written here once."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

_FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN_TOKENS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1, 2.5)
_WHOLE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """One server's metrics, in a registry of their own so that tests may have several."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        model = ("model",)
        replica = ("model", "replica")
        self.requests = Counter(
            "nacelle_requests", "API requests, by HTTP status", ("route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "nacelle_request_seconds",
            "From a sequence's arrival to its end",
            model,
            registry=registry,
            buckets=_WHOLE,
        )
        self.queued = Gauge(
            "nacelle_requests_queued", "Sequences that wait in the frontend", model, registry=registry
        )
        self.running = Gauge(
            "nacelle_requests_running", "Sequences that the engine is computing", replica, registry=registry
        )
        self.waiting = Gauge(
            "nacelle_requests_waiting", "Sequences that wait inside the host", replica, registry=registry
        )
        self.kv_usage = Gauge(
            "nacelle_kv_cache_usage", "Share of the KV cache in use, 0 to 1", replica, registry=registry
        )
        self.time_to_first_token = Histogram(
            "nacelle_time_to_first_token_seconds",
            "From a sequence's arrival to its first token",
            model,
            registry=registry,
            buckets=_FIRST_TOKEN,
        )
        self.inter_token = Histogram(
            "nacelle_inter_token_seconds",
            "Between two tokens of a sequence",
            model,
            registry=registry,
            buckets=_BETWEEN_TOKENS,
        )
        self.prompt_tokens = Counter(
            "nacelle_prompt_tokens", "Prompt tokens accepted", model, registry=registry
        )
        self.generated_tokens = Counter(
            "nacelle_generated_tokens", "Tokens generated", model, registry=registry
        )
        self.restarts = Counter(
            "nacelle_host_restarts",
            "Host restarts, by the cause of the death before",
            (*replica, "reason"),
            registry=registry,
        )
        self.host_state = Gauge(
            "nacelle_host_state", "1 for the state a host is in", (*replica, "state"), registry=registry
        )
        self.leased_bytes = Gauge(
            "nacelle_arena_leased_bytes",
            "Bytes leased in a shared-memory arena",
            (*replica, "arena"),
            registry=registry,
        )

    def render(self) -> bytes:
        """The Prometheus text exposition."""
        return generate_latest(self.registry)
