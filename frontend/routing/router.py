"""The way from the API to the models, and the listener of all replicas."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from frontend.errors import ModelNotFound, RequestTimeout, RequestTooLarge, ShuttingDown
from frontend.observability.metrics import Metrics
from frontend.routing.generation import Generation, SequenceSpec
from frontend.routing.model_route import ModelRoute
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from frontend.supervision.supervisor import Supervisor
from ipc.messages import ToFrontend


class RouterOptions(msgspec.Struct, frozen=True):
    max_queue: int  # waiting sequences per model
    arena_bytes: int
    request_timeout_seconds: float


class Router:
    """Holds the models. Implements `supervisor.Listener`."""

    def __init__(
        self, options: RouterOptions, metrics: Metrics, on_change: Callable[[], None] = lambda: None
    ) -> None:
        """`on_change` is called after any replica's state has changed."""
        self.models: dict[str, ModelRoute] = {}
        self.draining = False
        self._options = options
        self._metrics = metrics
        self._on_change = on_change

    def add(self, supervisor: Supervisor) -> None:
        """Take in one replica, in the order of its number."""
        name = supervisor.model
        if name not in self.models:
            self.models[name] = ModelRoute(name, self._options.max_queue, self._metrics)
        self.models[name].add(supervisor)

    @property
    def supervisors(self) -> list[Supervisor]:
        return [replica.supervisor for route in self.models.values() for replica in route.replicas]

    def route(self, model: str) -> ModelRoute:
        """Raises ModelNotFound."""
        if model not in self.models:
            raise ModelNotFound(f"the model {model!r} does not exist; see GET /v1/models", "model")
        return self.models[model]

    def generate(self, model: str, specs: list[SequenceSpec]) -> Generation:
        """Start a generation of one sequence per spec. The caller closes it.

        Raises ModelNotFound, ModelUnavailable, QueueFull, RequestTooLarge or ShuttingDown.
        """
        route = self.route(model)
        if self.draining:
            raise ShuttingDown("the server is shutting down", retry_after=1)
        generation = Generation(specs, time.monotonic(), route.abandon)
        if any(sequence.prompt_bytes > self._options.arena_bytes for sequence in generation.sequences):
            raise RequestTooLarge(f"the prompt exceeds {self._options.arena_bytes} bytes", "prompt")
        route.submit(generation)
        seconds = self._options.request_timeout_seconds
        generation.expires(
            asyncio.get_running_loop().call_later(
                seconds,
                generation.cancel,
                RequestTimeout(f"the request took longer than {seconds:g} seconds"),
            )
        )
        return generation

    def fail_all(self) -> None:
        """The drain budget is over: answer whoever still waits."""
        for route in self.models.values():
            route.fail_all(ShuttingDown("the server is shutting down", retry_after=1))

    def measure(self) -> None:
        """Bring up to date the metrics that are cheaper to read than to keep."""
        for supervisor in self.supervisors:
            leased = supervisor.incarnation.arena.leased_bytes if supervisor.incarnation else 0
            labels = (supervisor.model, str(supervisor.options.replica), "request")
            self._metrics.leased_bytes.labels(*labels).set(leased)

    # --- Listener ---

    def replica_changed(self, replica: Supervisor) -> None:
        number = str(replica.options.replica)
        for state in State:
            gauge = self._metrics.host_state.labels(replica.model, number, state.value)
            gauge.set(state is replica.life.state)
        self.models[replica.model].changed()
        self._on_change()

    def replica_said(self, replica: Supervisor, message: ToFrontend) -> None:
        route = self.models[replica.model]
        route.said(route.replica_of(replica), message)

    def replica_died(self, replica: Supervisor, death: Death) -> None:
        if replica.life.state is not State.DRAINING:
            self._metrics.restarts.labels(replica.model, str(replica.options.replica), death.cause).inc()
        route = self.models[replica.model]
        route.died(route.replica_of(replica), death)
