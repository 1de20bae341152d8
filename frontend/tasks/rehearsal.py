"""A job that computes a prompt for the cache of its host, and nothing for anybody."""

from collections.abc import Callable

from frontend.observability.metrics import ModelMetrics
from frontend.routing.job import Job
from ipc.messages import Generate, Reply, Sampling

_SAMPLING = Sampling(max_tokens=1, temperature=0.0, truncate_prompt=-1)


class Rehearsal(Job):
    is_rehearsal = True

    def __init__(self, body: bytes, arrived_at: float) -> None:
        super().__init__(Generate(0, b"", _SAMPLING), body, arrived_at, max_units=1)

    def take(self, reply: Reply, _now: float, _metrics: ModelMetrics) -> None:
        pass

    def fail(self, error: Exception) -> None:
        pass


def rehearsal_of(body: bytes) -> Callable[[float], Job]:
    """Makes the job that computes a prompt, an encoded TextInput, at a time."""
    return lambda arrived_at: Rehearsal(body, arrived_at)
