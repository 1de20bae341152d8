"""The way from the API to the models, and the listener of all replicas."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from frontend.config import ModelSettings
from frontend.errors import ClientGone, ModelNotFound, RequestTimeout, RequestTooLarge, ShuttingDown
from frontend.observability.metrics import Metrics
from frontend.routing.generation import Generation, SequenceSpec
from frontend.routing.model_route import ModelRoute
from frontend.routing.queries import Answer, Question, fail
from frontend.routing.replica import Replica
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from frontend.supervision.supervisor import Supervisor
from ipc.channel import MAX_MESSAGE_BYTES
from ipc.messages import Detokenize, ModelCard, ToFrontend

T = TypeVar("T")
OnLeave = Callable[[Callable[[], None]], None]  # takes what is to be called when the client leaves


def nobody_leaves(_callback: Callable[[], None]) -> None:
    """For requests that no client waits for."""


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

    def generate(
        self, model: str, specs: list[SequenceSpec], streaming: bool, age_seconds: float = 0.0
    ) -> Generation:
        """Start a generation of one sequence per spec, for a request of that age. The caller closes it.

        Raises ModelNotFound, ModelUnavailable, QueueFull, RequestTooLarge, RequestBlamed or ShuttingDown.
        """
        route = self._open_route(model)
        generation = Generation(specs, time.monotonic(), route.abandon, streaming)
        largest = max(sequence.prompt_bytes for sequence in generation.sequences)
        self._check_size("prompt", largest, self._options.arena_bytes)
        route.submit(generation)
        seconds = max(0.0, self._options.request_timeout_seconds - age_seconds)
        generation.expires(
            asyncio.get_running_loop().call_later(seconds, generation.cancel, self._too_late())
        )
        return generation

    async def ask(self, model: str, question: Question, on_leave: OnLeave = nobody_leaves) -> Answer:
        """What a host of the model answers.

        Raises ModelNotFound, ModelUnavailable, QueueFull, ShuttingDown, RequestTooLarge, RequestTimeout,
        BadRequest, EngineCrashed or ClientGone.
        """
        route = self._open_route(model)
        size = len(msgspec.msgpack.encode(question))
        if isinstance(question, Detokenize):
            self._check_size("tokens", size, MAX_MESSAGE_BYTES)
        else:
            self._check_size("prompt", size, self._options.arena_bytes)
        return await self._in_time(route.ask(question, size), on_leave)

    async def card(self, model: str, on_leave: OnLeave = nobody_leaves) -> ModelCard:
        """What a model can do, once it is loaded. Raises as `ask` does."""
        return await self._in_time(self._open_route(model).card(), on_leave)

    async def _in_time(self, answer: "asyncio.Future[T]", on_leave: OnLeave) -> T:
        if answer.done():
            return answer.result()
        on_leave(partial(fail, answer, ClientGone()))
        try:
            return await asyncio.wait_for(answer, self._options.request_timeout_seconds)
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> RequestTimeout:
        seconds = self._options.request_timeout_seconds
        return RequestTimeout(f"the request took longer than {seconds:g} seconds")

    def _open_route(self, model: str) -> ModelRoute:
        route = self.route(model)
        if self.draining:
            raise ShuttingDown("the server is shutting down", retry_after=1)
        return route

    def _check_size(self, what: str, size: int, limit: int) -> None:
        if size > limit:
            raise RequestTooLarge(f"{what} exceeds {limit} bytes", what)

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
