"""The way from the API to the models."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import msgspec

from frontend.access.sight import asking, sight
from frontend.caller import ANYBODY, Caller
from frontend.config import NAME_CHARACTERS, ModelSettings
from frontend.config_values import suggestion
from frontend.errors import (
    BadRequest,
    ClientGone,
    Conflict,
    ModelNotFound,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    ShuttingDown,
)
from frontend.limits.quotas import Quotas
from frontend.limits.tokens import charge
from frontend.routing.job import Job, ResultJob
from frontend.routing.names import LATEST, Names, Resolved, adapters_in, models_behind, resolve
from frontend.routing.route import Route
from frontend.shortened import shortened
from ipc.messages import ModelCard, Reply, Work

_LISTED = 8  # models in an error
_SHOWN_CHARACTERS = 60  # of a name
_NONE_ALLOWED = "this key may use no model that is served here; ask the operator of this server to allow one"

T = TypeVar("T")
OnLeave = Callable[[Callable[[], None]], None]  # takes what is to be called when the client leaves


def nobody_leaves(_callback: Callable[[], None]) -> None:
    """For requests that no client waits for."""


class RouterOptions(msgspec.Struct, frozen=True):
    arena_bytes: int
    request_timeout_seconds: float


class Router:
    """Holds the routes, which may come and go while the server runs, as may the names that stand for them."""

    def __init__(self, options: RouterOptions, chance: Callable[[], float] = random.random) -> None:
        """`chance` decides which variant a request gets that names no user."""
        self.routes: dict[str, Route] = {}
        self.names = Names()
        self.leaving: set[str] = set()  # models that finish what they have, and get nothing new
        self.removing: dict[str, asyncio.Event] = {}  # names that are closed, until their models are gone
        self.find_missing: Callable[[str], Awaitable[bool]] | None = None  # adds a model that is not served
        self.draining = False
        self.options = options
        self.quotas = Quotas()
        self._chance = chance
        self.on_drain: list[Callable[[], Awaitable[object]]] = []  # what is to end before connections close
        self.on_remove: list[Callable[[Route], None]] = []  # called with a route that was removed

    def add(self, route: Route) -> None:
        """Raises Conflict."""
        self.check_free(route.name)
        self.routes[route.name] = route

    def check_free(self, name: str) -> None:
        """Raises Conflict where no model can be added by this name now."""
        if name in self.removing:
            raise _being_removed(name)
        if name in self.routes:
            raise Conflict(f"a model named {name!r} is served already", "name")

    @contextlib.contextmanager
    def closed(self, names: Collection[str]) -> Iterator[None]:
        """Meanwhile the models of these names get nothing new, what they had has ended, and none is added.

        Raises Conflict where somebody else removes one already.
        """
        for name in names:
            if name in self.removing:
                raise _being_removed(name)
        over = asyncio.Event()
        self.removing.update(dict.fromkeys(names, over))
        try:
            for name in names:
                if name in self.routes:
                    self.routes[name].fail_all(_removed(name))
            yield
        finally:
            for name in names:
                del self.removing[name]
            over.set()

    async def settled(self, names: Collection[str]) -> None:
        """Until none of these names is closed."""
        while over := next((self.removing[name] for name in names if name in self.removing), None):
            await over.wait()

    def remove(self, name: str) -> None:
        """Whatever waits or runs there ends. Raises ModelNotFound."""
        route = self.routes.pop(name, None)
        if route is None:
            raise self._not_found(name)
        route.fail_all(_removed(name))
        for told in self.on_remove:
            told(route)

    def resolve(self, name: str, key: str | None = None) -> Resolved:
        """What a requested name means; always the same variant for the same `key`, a user or session.

        For a caller with a list of models, there are no others. Raises ModelNotFound, which lists the models
        that are served.
        """
        chosen_by = self.any_key() if key is None else key
        reachable = self._reachable_by(name)
        resolved = resolve(name, reachable, self._adapters_among(reachable), self.names, chosen_by)
        if resolved is None:
            raise self._not_found(name)
        sight().reach(resolved.model)
        return resolved

    def _reachable_by(self, name: str) -> Collection[str]:
        """The models that `name` may mean for whoever asks: all, if that is another name in its list."""
        bare = name.removesuffix(LATEST)
        if bare in self.names.all and sight().caller.may_use(bare):
            return self._all_served
        return self.served

    def route(self, name: str, key: str | None = None) -> Route:
        """Raises ModelNotFound, which lists the models that are served."""
        return self.routes[self.resolve(name, key).model]

    def models_behind(self, name: str) -> list[str]:
        """The served models that an alias or a set of variants may mean."""
        reachable = self._reachable_by(name)
        return models_behind(name, reachable, self._adapters_among(reachable), self.names)

    @property
    def other_names(self) -> list[str]:
        """The aliases and sets of variants that mean a served model."""
        return [name for name in self.names.all if self.models_behind(name)]

    @property
    def served(self) -> Collection[str]:
        """The names of the models that take requests; those of its list for a caller that has one."""
        seen = sight()
        if seen.is_whole:
            return self._all_served
        return [name for name in self._all_served if seen.has(name)]

    @property
    def visible_routes(self) -> list[Route]:
        """Those that take no requests any longer included."""
        return [route for name, route in self.routes.items() if sight().has(name)]

    @property
    def _all_served(self) -> Collection[str]:
        closed = self.leaving | self.removing.keys()
        return self.routes.keys() - closed if closed else self.routes

    def _adapters_among(self, served: Collection[str]) -> set[str]:
        return self._adapters if sight().is_whole else self._adapters & set(served)

    @property
    def _adapters(self) -> set[str]:
        return adapters_in(route.settings for route in self.routes.values()) & self.routes.keys()

    def only_model(self, missing: str = "model is missing") -> str:
        """The model that a request means which names none. Raises BadRequest, which begins with `missing`,
        unless there is exactly one; for a caller with none, it says that instead."""
        names = sorted(set(self.served) - self._adapters)
        if not names and not sight().is_whole:
            raise BadRequest(_NONE_ALLOWED, "model")
        if len(names) != 1:
            which = f"; this server has {', '.join(map(_shown, names))}" if names else ""
            raise BadRequest(f"{missing}{which}", "model")
        return names[0]

    def any_key(self) -> str:
        """A key for a request that names no user."""
        return str(self._chance())

    def _not_found(self, name: str) -> ModelNotFound:
        target = self.names.aliases.get(name)
        if target is not None and (sight().is_whole or sight().caller.may_use(name)):
            return ModelNotFound(
                f"{_shown(name)} is an alias of {_shown(target)}, which is not served here", "model"
            )
        if not self.served and not self.other_names and not sight().is_whole:
            return ModelNotFound(f"the model {_shown(name)} does not exist: {_NONE_ALLOWED}", "model")
        suggested = self.names.all if sight().is_whole else ()
        return ModelNotFound(unknown_model(name, [*self.served, *self.other_names], suggested), "model")

    async def model(
        self,
        name: str,
        on_leave: OnLeave = nobody_leaves,
        key: str | None = None,
        on_resolved: Callable[[Resolved], None] = lambda _: None,
        caller: Caller | None = None,
    ) -> "Model":
        """The model of this name, once it is loaded. `on_resolved` is called before it waits for that.
        What it is given to do is done for `caller`, by default whoever asks.

        Raises ModelNotFound, ModelUnavailable, QueueFull, ShuttingDown, RequestTimeout or ClientGone.
        """
        resolved = await self.resolve_or_find(name, on_leave, key)
        on_resolved(resolved)
        route = self.routes[resolved.model]
        self.check_open()
        card = await self.in_time(route.card(), on_leave)
        return Model(self, route, card, caller or sight().caller)

    async def resolve_or_find(
        self, name: str, on_leave: OnLeave = nobody_leaves, key: str | None = None
    ) -> Resolved:
        """As `resolve`, after a model that is not served was looked for.

        Raises ModelNotFound, ServerError for one that cannot be served, RequestTimeout or ClientGone.
        """
        try:
            return self.resolve(name, key)
        except ModelNotFound:
            if name in self.removing or self.find_missing is None or not sight().has(name):
                raise
            with asking(ANYBODY):  # what is begun for one caller is there for all
                finding = _future(self.find_missing(name))
            if not await self.in_time(finding, on_leave):
                raise
        return self.resolve(name, key)

    async def in_time(self, answer: "asyncio.Future[T]", on_leave: OnLeave) -> T:
        """Raises what the answer raises, ClientGone or RequestTimeout."""
        if answer.done():
            return answer.result()
        on_leave(partial(_fail, answer, ClientGone()))
        try:
            return await asyncio.wait_for(answer, self.options.request_timeout_seconds)
        except TimeoutError:
            raise self.too_late() from None

    def too_late(self) -> RequestTimeout:
        seconds = self.options.request_timeout_seconds
        return RequestTimeout(f"the request took longer than {seconds:g} seconds")

    async def drain(self, seconds: float) -> float:
        """Take nothing new, and let `on_drain` finish. Returns what is left of `seconds`."""
        self.draining = True
        began = time.monotonic()
        if self.on_drain:
            tasks = [asyncio.ensure_future(finish()) for finish in self.on_drain]
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
        return max(0.0, seconds - (time.monotonic() - began))

    def check_open(self) -> None:
        """Raises ShuttingDown."""
        if self.draining:
            raise ShuttingDown("the server is shutting down", retry_after=1)

    def check_serves(self, route: Route) -> None:
        """Raises ModelNotFound for the route of a model that was removed, or is being removed."""
        if self.routes.get(route.name) is not route or route.name in self.removing:
            raise _removed(route.name)

    def fail_all(self) -> None:
        """The drain budget is over: answer whoever still waits."""
        for route in self.routes.values():
            route.fail_all(ShuttingDown("the server is shutting down", retry_after=1))

    def measure(self) -> None:
        for route in self.routes.values():
            route.measure()


class Model:
    """What one request's model was resolved to, once: its route, its settings and its card."""

    def __init__(self, router: Router, route: Route, card: ModelCard, caller: Caller = ANYBODY) -> None:
        self.card = card
        self.on_submit: Callable[[Sequence[Job]], None] = lambda _: None  # called with what was taken in
        self._caller = caller
        self._router = router
        self._route = route

    @property
    def name(self) -> str:
        return self._route.name

    @property
    def settings(self) -> ModelSettings:
        return self._route.settings

    def now(self) -> float:
        """The time at which jobs arrive."""
        return time.monotonic()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Raises ModelNotFound, ModelUnavailable, QueueFull, RateLimited, RequestTooLarge, RequestBlamed or
        ShuttingDown."""
        self._router.check_open()
        self._router.check_serves(self._route)
        limit = self._router.options.arena_bytes
        for job in jobs:
            job.caller = self._caller
            if isinstance(job.body, bytes) and len(job.body) > limit:  # an upload has a limit of its own
                raise RequestTooLarge(f"{job.param} exceeds {limit} bytes", job.param)
        charged = charge(self._router.quotas, self._caller, jobs)
        try:
            self._route.submit(jobs)
        except ServerError:
            if charged is not None:
                charged.cancel()
            raise
        self.on_submit(jobs)

    def drop(self, jobs: Sequence[Job]) -> None:
        self._route.drop(jobs)

    def call_when_late(self, age_seconds: float, cancel: Callable[[Exception], None]) -> asyncio.TimerHandle:
        """A timer that cancels what a request of that age has begun when its time is over."""
        seconds = max(0.0, self._router.options.request_timeout_seconds - age_seconds)
        return asyncio.get_running_loop().call_later(seconds, cancel, self._router.too_late())

    async def ask(
        self,
        work: Work,
        body: bytes,
        param: str,
        on_leave: OnLeave = nobody_leaves,
        *,
        needs_slot: bool = True,
    ) -> Reply:
        """A host's answer to work with one result, whose body came from the request's `param`.

        Not `needs_slot`: the work is so little that its host does it at once.

        Raises ModelUnavailable, QueueFull, ShuttingDown, RequestTooLarge, RequestTimeout, RequestBlamed,
        BadRequest, EngineCrashed or ClientGone.
        """
        job = ResultJob(work, body, self.now(), param, needs_slot=needs_slot)
        self.submit([job])
        try:
            return await self._router.in_time(job.result, on_leave)
        finally:
            if not job.ended:
                self.drop([job])


def unknown_model(name: str, served: Collection[str], others: Collection[str] = ()) -> str:
    """An error of a few lines, whatever the name is and however many models are served.

    `others` are names that may be suggested as well.
    """
    listed = ", ".join(map(_shown, islice(served, _LISTED))) or "none"
    more = f" and {len(served) - _LISTED} more, see GET /v1/models" if len(served) > _LISTED else ""
    hint = suggestion(name, {*served, *others}) if len(name) <= NAME_CHARACTERS else ""
    return f"the model {_shown(name)} does not exist{hint or ';'} models served here: {listed}{more}"


def _being_removed(name: str) -> Conflict:
    return Conflict(f"the model {_shown(name)} is being removed; try again when it is gone", "name")


def _removed(name: str) -> ModelNotFound:
    return ModelNotFound(f"the model {_shown(name)} was removed", "model")


def _shown(name: str) -> str:
    return repr(shortened(name, _SHOWN_CHARACTERS))


def _future(work: Awaitable[T]) -> "asyncio.Future[T]":
    """The result of work, which is cancelled if the future ends before."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(work)

    def settle(task: "asyncio.Future[T]") -> None:
        if future.done():
            return
        if task.cancelled():
            future.cancel()
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    task.add_done_callback(settle)
    future.add_done_callback(lambda _: task.cancel())
    return future


def _fail(answer: "asyncio.Future[T]", error: Exception) -> None:
    """Unless it is there already."""
    if not answer.done():
        answer.set_exception(error)
