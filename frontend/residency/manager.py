"""Carries out what the residency policy decides: loads and unloads models, and answers those who wait."""

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from frontend.errors import ModelUnavailable, RequestTimeout, ServerError
from frontend.fleet import Fleet, Spawner
from frontend.residency import room, words
from frontend.residency.measurements import Measurement, Measurements
from frontend.residency.policy import advance
from frontend.residency.served import Served
from frontend.residency.state import (
    Action,
    Added,
    BecameReady,
    Close,
    Demanded,
    Event,
    Gone,
    KeptAlive,
    Limited,
    Limits,
    Load,
    LoadFailed,
    Measured,
    Phase,
    Pinned,
    Reason,
    Redefined,
    Refuse,
    Released,
    Removed,
    Reopen,
    Residency,
    Resident,
    Started,
    Stop,
    Tick,
    Wake,
    Worked,
)
from frontend.routing.route import Route
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import HALF_OPEN_SECONDS, State
from frontend.supervision.memory import held_bytes
from frontend.supervision.supervisor import Supervisor

_TICK_SECONDS = 1.0
_LEAVING = (Phase.CLOSING, Phase.STOPPING)

log = logging.getLogger("nacelle.residency")


class Manager:
    """All models on this machine. Implements `route.Loader`. Times are seconds of the monotonic clock."""

    def __init__(
        self,
        fleet: Fleet,
        limits: Limits,
        wait_seconds: float,
        timeout_seconds: float,
        measurements: Measurements,
    ) -> None:
        """Requests wait at most `wait_seconds` for a model, explicit loads `timeout_seconds`."""
        self.fleet = fleet
        self.wait_seconds = wait_seconds
        self.served: dict[str, Served] = {}
        self.on_change: list[Callable[[str], None]] = []  # called with the name of a model
        self._residency = Residency(limits)
        self._timeout_seconds = timeout_seconds
        self._measurements = measurements
        self._swaps: dict[str, Callable[[], None]] = {}  # what happens once a model's processes are gone
        self._events: deque[Event] = deque()
        self._is_advancing = False
        self._is_closed = False
        self._removals: set[asyncio.Task[None]] = set()
        self._wake: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        fleet.on_change.append(self._replica_changed)
        fleet.on_death.append(self._died)

    # --- models come and go -------------------------------------------------------------------------

    def add(self, served: Served, spawners: Sequence[Spawner], resident: Resident) -> None:
        """Serve a model, which is not loaded yet. Raises Conflict."""
        served.supervisors = self.fleet.add(served.route, spawners)
        self.served[resident.name] = served
        served.route.loader = self
        self._post(Added(resident))
        if self._ticker is None:
            self._tick()

    def preload(self, name: str) -> bool:
        """Load a model at the start, where it fits beside those that are loaded. Whether it does."""
        model = self.resident(name)
        is_there = model.phase in (Phase.LOADING, Phase.READY)
        if not is_there and not isinstance(room.find(self._residency, model, time.monotonic()), room.Now):
            return False
        self.start_at_once(name)
        return True

    def start_at_once(self, name: str) -> None:
        """Load a model whatever the limits, and keep trying if that fails."""
        if not self._is_closed:
            self._post(Started(name))
            self._perform(Load(name))

    async def vacate(self, name: str, seconds: float) -> None:
        """Stop the processes of a model that the router has closed; they leave within `seconds`."""
        self._swaps.pop(name, None)
        self._post(Released(name))
        self._wake_waiters(name)
        await self.fleet.stop(self.served[name].supervisors, seconds)

    def remove(self, name: str) -> None:
        """Stop serving a model that was vacated. Raises ModelNotFound."""
        self.fleet.remove(name)
        self._post(Removed(name))
        self.served.pop(name).route.loader = None  # late hosts of it are nobody's
        self._wake_waiters(name)
        self._changed(name)

    def replace(self, name: str, swap: Callable[[], None]) -> None:
        """Let a model finish what runs and stop its processes, call `swap`, and go on with what that made of
        it: a model that was to be loaded is, and what has waited for it meanwhile gets it."""
        self._swaps[name] = swap
        model = self.resident(name)
        if model.phase is Phase.UNLOADED and not model.persistent:
            self._swap(name)
        else:
            self._post(Released(name))

    def is_replacing(self, name: str) -> bool:
        """Whether what `replace` began is not done yet."""
        return name in self._swaps

    def _swap(self, name: str) -> None:
        """Its processes are gone, or there were none."""
        swap = self._swaps.pop(name, None)
        if swap is None or name not in self.served:
            return
        self.served[name].route.last_card = None  # whoever asks now waits for the new one
        swap()
        self._post(Gone(name))

    def redefine(self, served: Served, resident: Resident) -> None:
        """Follow changed settings of a model."""
        self.served[resident.name] = served
        self._post(
            Redefined(resident.name, resident.device, resident.bytes, resident.pinned, resident.keep_alive)
        )
        self._changed(resident.name)

    def limit(self, limits: Limits, wait_seconds: float) -> None:
        """Follow other limits from now on."""
        self.wait_seconds = wait_seconds
        self._post(Limited(limits))

    def close(self) -> None:
        """The server is shutting down: nothing is loaded from now on."""
        self._is_closed = True
        for timer in (self._wake, self._ticker):
            if timer is not None:
                timer.cancel()

    # --- what people ask for ------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        return self._residency.limits

    def resident(self, name: str) -> Resident:
        return self._residency.models[name]

    async def load(self, name: str) -> None:
        """Until it is ready. Raises ModelUnavailable or RequestTimeout."""
        served = self.served[name]
        served.reason = None
        self._post(Demanded(name))
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while (phase := self._resident_of(served).phase) is not Phase.READY:
                    if phase is Phase.UNLOADED and not self.resident(name).wanted:
                        raise ModelUnavailable(
                            f"{name} is not available: {served.reason or 'it was unloaded'}"
                        )
                    await self._next_change(name)
        except TimeoutError:
            raise RequestTimeout(
                f"{name} was not loaded within {self._timeout_seconds:g} seconds; {self._progress(name)}"
            ) from None
        finally:
            if name in self.served and not self._waiters.get(name):
                self._post(Demanded(name, demanded=False))

    def _resident_of(self, served: Served) -> Resident:
        """Raises ModelNotFound where the model is not served any longer, though another may have its name."""
        self.fleet.router.check_serves(served.route)
        return self.resident(served.route.name)

    async def unload(self, name: str) -> None:
        """Until its processes are gone; it may be loaded again at once, for requests that wait.

        Raises RequestTimeout.
        """
        self._post(Released(name))
        await self._left_in_time(name)

    async def let_go(self, name: str) -> None:
        """Unload a model that is idle, or as soon as it is; one that is pinned stays, and a load that has
        begun goes on. Raises RequestTimeout."""
        self.keep_alive(name, 0.0)
        model = self.resident(name)
        if model.phase is Phase.READY and not model.busy and not model.pinned:
            self._post(Released(name))
        await self._left_in_time(name)

    async def _left_in_time(self, name: str) -> None:
        """A driver may hold a process that was killed."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while name in self.served and self.resident(name).phase in _LEAVING:
                    await self._next_change(name)
        except TimeoutError:
            raise RequestTimeout(
                f"{name} was not unloaded within {self._timeout_seconds:g} seconds; it still finishes"
            ) from None

    async def finish(self, name: str, seconds: float) -> None:
        """Until a model has no work left, or that time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while name in self.served and self.resident(name).busy:
                    await self._next_change(name)

    def pin(self, name: str, pinned: bool) -> None:
        self._post(Pinned(name, pinned))
        self._changed(name)

    def keep_alive(self, name: str, seconds: float | None) -> None:
        """0: until it is idle. Negative: for ever. None: as configured."""
        wanted = self.served[name].keep_alive if seconds is None else seconds
        wanted = None if wanted is None or wanted < 0 else wanted
        if wanted != self.resident(name).keep_alive:
            self._post(KeptAlive(name, wanted))
            self._changed(name)

    async def _next_change(self, name: str) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(name, set())
        waiters.add(waiter)
        try:
            await waiter
        finally:
            waiters.discard(waiter)

    def _wake_waiters(self, name: str) -> None:
        for waiter in self._waiters.get(name, ()):
            if not waiter.done():
                waiter.set_result(None)

    # --- Loader: what a route asks and reports ---------------------------------------------------------

    def worked(self, name: str, waiting: bool, running: bool) -> None:
        self._post(Worked(name, waiting, running))
        if not (waiting or running):
            self._wake_waiters(name)

    def check(self, name: str) -> None:
        served, model = self.served[name], self.resident(name)
        if self._is_closed:
            raise ModelUnavailable(f"{name} is not available: it is being stopped", retry_after=1)
        if model.phase is not Phase.UNLOADED or model.demanded:
            return
        if model.persistent and model.failures:
            raise self._unavailable(served, HALF_OPEN_SECONDS)
        if (seconds := model.again_after - time.monotonic()) > 0:
            raise self._unavailable(served, seconds)

    def _unavailable(self, served: Served, seconds: float) -> ModelUnavailable:
        reason = served.reason or "it is being stopped"
        return ModelUnavailable(
            f"{served.route.name} is not available: {reason}", retry_after=max(1, math.ceil(seconds))
        )

    def waited(self, name: str) -> ServerError:
        return ModelUnavailable(
            f"{name} was not loaded within {self.wait_seconds:g} seconds; {self._progress(name)}",
            retry_after=self._remaining_seconds(name),
        )

    def _remaining_seconds(self, name: str) -> int:
        """A guess at when a load will be over, from 1 to 60."""
        served = self.served[name]
        left = (served.load_seconds or 10.0) - self._loading_seconds(served)
        return max(1, min(60, math.ceil(left)))

    def _loading_seconds(self, served: Served) -> float:
        return 0.0 if served.loading_since is None else time.monotonic() - served.loading_since

    def _progress(self, name: str) -> str:
        served = self.served[name]
        if self.resident(name).phase is Phase.LOADING:
            return words.loading(self._loading_seconds(served), served.load_seconds)
        return words.waiting(self._residency, self.resident(name))

    # --- what the fleet reports ----------------------------------------------------------------------

    def _replica_changed(self, supervisor: Supervisor) -> None:
        if self._is_current(supervisor):
            self._observe(supervisor.model)

    def _is_current(self, supervisor: Supervisor) -> bool:
        """Whether it is a replica of the model that is served by its name now."""
        served = self.served.get(supervisor.model)
        return served is not None and supervisor in served.supervisors

    def persists(self, supervisor: Supervisor) -> bool:
        """Whether a replica that failed keeps trying."""
        return self._is_current(supervisor) and self.resident(supervisor.model).persistent

    def _observe(self, name: str) -> None:
        served = self.served.get(name)
        if served is None:
            return
        phase = self.resident(name).phase
        states = {supervisor.life.state for supervisor in served.supervisors}
        if State.READY in states:
            if phase is Phase.LOADING:
                self._post(BecameReady(name))
        elif states == {State.STOPPED}:
            if name in self._swaps:  # after all who are told of this change
                asyncio.get_running_loop().call_soon(self._swap, name)
            elif phase is not Phase.UNLOADED:
                self._post(Gone(name))
        elif states <= {State.STOPPED, State.FAILED}:
            if phase in (Phase.LOADING, Phase.READY):
                served.reason = next(
                    (each.life.reason for each in served.supervisors if each.life.reason), served.reason
                )
                self._post(LoadFailed(name))
        elif phase is Phase.UNLOADED:
            self._post(Started(name))

    def _died(self, supervisor: Supervisor, death: Death) -> None:
        """A load that ran out of memory is not repeated as it was."""
        name = supervisor.model
        if (
            self._is_current(supervisor)
            and self.resident(name).phase is Phase.LOADING
            and death.ran_out_of_memory
        ):
            self.served[name].reason = death.summary
            self._post(LoadFailed(name, out_of_memory=True))

    # --- the policy ----------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        """Events that follow from carrying out an earlier one are handled after it."""
        self._events.append(event)
        if self._is_advancing or self._is_closed:
            return
        self._is_advancing = True
        try:
            while self._events:
                self._advance(self._events.popleft())
        finally:
            self._is_advancing = False

    def _advance(self, event: Event) -> None:
        before = self._residency
        self._residency, actions = advance(before, event, time.monotonic())
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._note_changes(before)
        for action in actions:
            self._perform(action)
        if isinstance(event, LoadFailed):
            self._answer_failure(event)

    def _note_changes(self, before: Residency) -> None:
        for name, model in self._residency.models.items():
            old = before.models.get(name)
            if old is None or old.phase is not model.phase:
                self._phase_changed(self.served[name], model, old)
            if old is None or old.phase is not model.phase or old.wanted is not model.wanted:
                self._wake_waiters(name)
                self._changed(name)

    def _phase_changed(self, served: Served, model: Resident, old: Resident | None) -> None:
        now = time.monotonic()
        loaded = model.phase in (Phase.READY, Phase.CLOSING)
        self.fleet.metrics.of_model(model.name).loaded.set(loaded)
        if old is not None and (
            old.phase is Phase.STOPPING or (old.phase is Phase.CLOSING and model.phase is Phase.UNLOADED)
        ):
            self._left(served, model)
        match model.phase:
            case Phase.LOADING:
                served.loading_since = now
            case Phase.READY if old is not None and old.phase is Phase.LOADING:
                self._loaded(served, model, now)
            case Phase.UNLOADED:
                served.loading_since = None

    def _left(self, served: Served, model: Resident) -> None:
        """Its processes are gone. It may be loading again already."""
        served.loaded_at = None
        served.route.close(False)
        if model.keep_alive != served.keep_alive:
            self._events.append(KeptAlive(model.name, served.keep_alive))

    def _loaded(self, served: Served, model: Resident, now: float) -> None:
        seconds = served.load_seconds = now - (served.loading_since or now)
        served.loading_since = None
        served.loaded_at = time.time()
        served.reason = None
        held = served.held_bytes
        self._events.append(Measured(model.name, held + served.growth_bytes))
        log.info("%s was loaded in %.1f s and holds %s", model.name, seconds, words.size(held))
        metrics = self.fleet.metrics.of_model(model.name)
        metrics.loads("loaded").inc()
        metrics.load_seconds.observe(seconds)
        one = held_bytes([served.supervisors[0].pid]) or held
        self._measurements.remember(served.path, model.device, Measurement(one, seconds))

    def _perform(self, action: Action) -> None:
        match action:
            case Load():
                self._load(action)
            case Close():
                log.info("%s gets no new requests and finishes those that run", action.name)
                self.served[action.name].route.close(True)
            case Reopen():
                log.info("%s stays: its place is no longer needed", action.name)
                self.served[action.name].route.close(False)
            case Stop():
                self._stop(action)
            case Refuse():
                self._refuse(action)
            case Wake():
                delay = max(0.0, action.at - time.monotonic())
                self._wake = asyncio.get_running_loop().call_later(delay, self._post, Tick())

    def _load(self, load: Load) -> None:
        served = self.served[load.name]
        if served.is_gone:
            log.info("%s is gone from the store and no longer served", load.name)
            removal = asyncio.create_task(self._remove_gone(load.name, served.route))
            self._removals.add(removal)
            removal.add_done_callback(self._removals.discard)
            return
        try:
            launch = served.launch(load.smaller)
        except Exception as error:  # a folder that it needs is gone, and the like
            log.exception("%s could not be launched", load.name)
            served.reason = str(error)
            self._post(LoadFailed(load.name, launched=False))
            return
        self.fleet.load(load.name, launch)

    async def _remove_gone(self, name: str, route: Route) -> None:
        router = self.fleet.router
        if router.routes.get(name) is route and name not in router.removing:
            with router.closed([name]):
                self.remove(name)

    def _stop(self, stop: Stop) -> None:
        if stop.reason is not Reason.FAILED:  # else another line says so
            freed = words.size(self.served[stop.name].held_bytes)
            log.info("%s is unloaded, which frees %s: %s", stop.name, freed, words.REASONS[stop.reason])
        self.fleet.metrics.of_model(stop.name).unloads(stop.reason.value).inc()
        self.served[stop.name].route.close(True)
        self.fleet.unload(stop.name)
        self._observe(stop.name)

    def _refuse(self, refusal: Refuse) -> None:
        served = self.served[refusal.name]
        served.reason = words.does_not_fit(refusal)
        log.warning("%s cannot be loaded: %s", refusal.name, served.reason)
        served.route.fail_all(ModelUnavailable(f"{refusal.name} cannot be loaded: {served.reason}"))

    def _answer_failure(self, event: LoadFailed) -> None:
        name = event.name
        served, model = self.served[name], self.resident(name)
        result = "out_of_memory" if event.out_of_memory else "failed"
        self.fleet.metrics.of_model(name).loads(result).inc()
        if model.demanded:
            log.warning("%s: its load ran out of memory and is tried once more", name)
            return
        seconds = HALF_OPEN_SECONDS
        if not model.persistent:
            log.error("%s could not be loaded: %s", name, served.reason)
            seconds = model.again_after - time.monotonic()
        served.route.fail_all(self._unavailable(served, seconds))

    def _changed(self, name: str) -> None:
        for told in self.on_change:
            told(name)

    def _tick(self) -> None:
        """Once a second: answer those who have waited too long, and look at what hosts hold."""
        self._ticker = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        for name, served in list(self.served.items()):
            model = self.resident(name)
            if model.waiting:
                served.route.answer_impatient(self.wait_seconds, self.waited(name))
            if model.phase is Phase.READY and (held := served.held_bytes) > model.bytes:
                self._post(Measured(name, held))
