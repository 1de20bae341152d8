"""Makes a running server follow its settings as they are now; what cannot be prepared changes nothing."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from frontend.access.sight import asking
from frontend.caller import ANYBODY
from frontend.config import ConfigError, Settings
from frontend.errors import ModelNotFound
from frontend.library import Library
from frontend.local_models import LocalModels
from frontend.models.errors import ModelError
from frontend.models.options import REMOTE
from frontend.models.resolve import PreparedModel
from frontend.reload.configuration import Configuration
from frontend.reload.plan import ReloadPlan, followed, in_words, plan_reload
from frontend.remote.backend import backends_of
from frontend.remote.remotes import Remotes
from frontend.routing.names import Names
from frontend.routing.route import wait_until_idle
from frontend.routing.router import Router

log = logging.getLogger("nacelle")
T = TypeVar("T")


class Reloader:
    """For the event loop. One reload at a time; further ones wait for it."""

    def __init__(
        self,
        read: Callable[[], Configuration],
        began_with: Configuration,
        models: LocalModels,
        remotes: Remotes,
        router: Router,
        follow: Callable[[Settings], None],
    ) -> None:
        """`read` runs in a thread and raises ConfigError or ModelError. `follow` is given the settings whose
        changes can be followed at once."""
        self._read = read
        self._settings = began_with.settings
        self._configured = _by_name(began_with.prepared)
        self._models = models
        self._remotes = remotes
        self._library: Library = models.library
        self._router = router
        self._follow = follow
        self._lock = asyncio.Lock()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._on_signal: asyncio.Task[None] | None = None

    async def reload(self) -> ReloadPlan:
        """Returns once the changes have begun. Raises ConfigError or ModelError where nothing was changed."""
        with asking(ANYBODY):  # all models, whoever asks for it
            return await self._reload()

    async def _reload(self) -> ReloadPlan:
        async with self._lock:
            read = await in_daemon_thread(self._read)
            for note in read.notes:
                log.log(note.level, "%s", note.text)
            wanted = _by_name(read.prepared)
            for model in read.settings.models:
                backends_of(model)  # a key that is missing is noticed before anything has changed
            for name in wanted:
                await self._stay(name)
            await self._router.settled(wanted)
            plan = plan_reload(self._settings, read.settings, self._configured, self._running, wanted)
            self._settings = followed(self._settings, read.settings)
            self._follow(self._settings)  # limits hold for what is added
            self._carry_out(plan, wanted)
            self._router.names = Names.of(read.settings)
            self._configured = {name: self._running.get(name, model) for name, model in wanted.items()}
        log.info("the settings were reloaded; %s", in_words(plan))
        return plan

    @property
    def _running(self) -> dict[str, PreparedModel]:
        """What is served of the settings, and whatever else has hosts here."""
        configured = {name: model for name, model in self._configured.items() if name in self._router.routes}
        return configured | self._models.running

    def signalled(self) -> "asyncio.Task[None]":
        """As SIGHUP asks. Signals that arrive meanwhile become one more reload. Returns what does it."""
        if self._on_signal is None or self._on_signal.done() or self._lock.locked():
            self._on_signal = asyncio.ensure_future(self._reload_and_log(self._on_signal))
        return self._on_signal

    async def _reload_and_log(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await self.reload()
        except (ConfigError, ModelError) as error:
            log.error("the settings were not reloaded, nothing was changed: %s", error)
        except Exception:
            log.exception("the settings were not reloaded completely")

    def close(self) -> None:
        for task in self._leaving.values():
            task.cancel()

    def _carry_out(self, plan: ReloadPlan, wanted: dict[str, PreparedModel]) -> None:
        """Never waits, so that the plan stays true."""
        added = [wanted[name] for name in plan.added]
        local = [model for model in added if model.engine != REMOTE]
        for model in local:
            self._models.add(model)
        self._models.preload(local)
        for model in added:
            self._remotes.serve(model.settings)
        for name in plan.replaced:
            self._models.replace(wanted[name])
        for name in plan.adjusted:
            if name in self._models.running:
                self._models.adjust(wanted[name])
            self._remotes.serve(wanted[name].settings)
        for name in plan.removed:
            self._router.leaving.add(name)
            self._leaving[name] = asyncio.create_task(self._leave(name))

    async def _stay(self, name: str) -> None:
        """A model that was about to leave, and is wanted again."""
        task = self._leaving.get(name)
        if task is None:
            return
        if name in self._router.leaving:  # it still serves
            task.cancel()
        await asyncio.wait([task])
        self._router.leaving.discard(name)

    async def _leave(self, name: str) -> None:
        """Finish what the model has, bounded by the time that a request may take, and remove it."""
        route = self._router.routes.get(name)
        try:
            await self._finish(name, self._settings.request_timeout_seconds)
            self._router.leaving.discard(name)
            if self._router.routes.get(name) is route:  # else another one has its name since
                await self._library.remove(name)
        except ModelNotFound:
            pass
        finally:
            del self._leaving[name]

    async def _finish(self, name: str, seconds: float) -> None:
        if name in self._models.running:
            await self._models.finish(name, seconds)
            return
        await wait_until_idle(self._router.routes.get(name), seconds)


def _by_name(prepared: list[PreparedModel]) -> dict[str, PreparedModel]:
    return {model.settings.name: model for model in prepared}


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """The result of work that a shutdown need not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (work(), None)
        except BaseException as error:
            outcome = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="reload", daemon=True).start()
    return await done
