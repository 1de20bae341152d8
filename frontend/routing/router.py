"""The way from the API to the models, and the listener of all replicas."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from frontend.config import ModelSettings
from frontend.errors import ModelNotFound, RequestTimeout, RequestTooLarge, ShuttingDown
from frontend.observability.metrics import Metrics
from frontend.routing.generation import Generation, SequenceSpec
from frontend.routing.model_route import ModelRoute
from frontend.routing.queries import Answer, Question
from frontend.routing.replica import Replica
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from frontend.supervision.supervisor import Supervisor
from ipc.messages import ModelCard, ToFrontend

T = TypeVar("T")


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
        self._homes: dict[Supervisor, tuple[ModelRoute, Replica]] = {}
        self.draining = False
        self._options = options
        self._metrics = metrics
        self._on_change = on_change

    def add(self, supervisor: Supervisor, settings: ModelSettings) -> None:
        """Take in one replica of the model with these settings, in the order of its number."""
        name = settings.name
        if name not in self.models:
            self.models[name] = ModelRoute(
                settings,
                self._options.max_queue,
                self._metrics,
                time.monotonic,
                asyncio.get_running_loop().call_later,
            )
        route = self.models[name]
        self._homes[supervisor] = (route, route.add(supervisor))

    @property
    def supervisors(self) -> list[Supervisor]:
        return list(self._homes)

    def supervisors_of(self, model: str) -> list[Supervisor]:
        """A model's replicas. Raises ModelNotFound."""
        self.route(model)
        return [supervisor for supervisor in self.supervisors if supervisor.model == model]

    def route(self, model: str) -> ModelRoute:
        """Raises ModelNotFound."""
        if model not in self.models:
            raise ModelNotFound(f"the model {model!r} does not exist; see GET /v1/models", "model")
        return self.models[model]

    def generate(self, model: str, specs: list[SequenceSpec], streaming: bool) -> Generation:
        """Start a generation of one sequence per spec. The caller closes it.

        Raises ModelNotFound, ModelUnavailable, QueueFull, RequestTooLarge, RequestBlamed or ShuttingDown.
        """
        route = self._open_route(model)
        generation = Generation(specs, time.monotonic(), route.abandon, streaming)
        self._check_size(max(sequence.prompt_bytes for sequence in generation.sequences))
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

    async def ask(self, model: str, question: Question) -> Answer:
        """What a host of the model answers.

        Raises ModelNotFound, ModelUnavailable, QueueFull, ShuttingDown, RequestTooLarge, RequestTimeout,
        BadRequest or EngineCrashed.
        """
        route = self._open_route(model)
        size = len(msgspec.msgpack.encode(question))
        self._check_size(size)
        return await self._in_time(route.ask(question, size))

    async def card(self, model: str) -> ModelCard:
        """What a model can do, once it is loaded. Raises as `ask` does."""
        return await self._in_time(self._open_route(model).card())

    async def _in_time(self, answer: "asyncio.Future[T]") -> T:
        if answer.done():
            return answer.result()
        seconds = self._options.request_timeout_seconds
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            raise RequestTimeout(f"the request took longer than {seconds:g} seconds") from None

    def _open_route(self, model: str) -> ModelRoute:
        route = self.route(model)
        if self.draining:
            raise ShuttingDown("the server is shutting down", retry_after=1)
        return route

    def _check_size(self, prompt_bytes: int) -> None:
        if prompt_bytes > self._options.arena_bytes:
            raise RequestTooLarge(f"the prompt exceeds {self._options.arena_bytes} bytes", "prompt")

    def fail_all(self) -> None:
        """The drain budget is over: answer whoever still waits."""
        for route in self.models.values():
            route.fail_all(ShuttingDown("the server is shutting down", retry_after=1))

    def measure(self) -> None:
        """Bring up to date the metrics that are cheaper to read than to keep."""
        for supervisor in self.supervisors:
            gauges = self._metrics.of_model(supervisor.model).of_replica(supervisor.number)
            gauges.leased_bytes("request").set(supervisor.leased_bytes)
            gauges.resident_bytes.set(supervisor.resident_bytes)

    # --- Listener ---

    def replica_changed(self, replica: Supervisor) -> None:
        gauges = self._metrics.of_model(replica.model).of_replica(replica.number)
        for state in State:
            gauges.state(state.value).set(state is replica.life.state)
        self.models[replica.model].changed()
        self._on_change()

    def replica_said(self, replica: Supervisor, message: ToFrontend) -> None:
        route, home = self._homes[replica]
        route.arrivals.take(home, message)

    def replica_died(self, replica: Supervisor, death: Death) -> bool:
        if not death.expected:
            gauges = self._metrics.of_model(replica.model).of_replica(replica.number)
            gauges.restarts(death.cause).inc()
        route, home = self._homes[replica]
        return route.died(home, death)
