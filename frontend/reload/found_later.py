"""A server of the whole store follows it: models that come are served, and those that went no longer are."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from frontend.access.sight import asking
from frontend.caller import ANYBODY
from frontend.config import Settings
from frontend.errors import BadRequest, Conflict, NotFound, ServerError
from frontend.library import Library
from frontend.models.inventory import Inventory
from frontend.models.root import store_root
from frontend.reload.configuration import stored_names, unnamed
from frontend.routing.names import LATEST

_LOOKUP_SECONDS = 0.2  # between two looks into the store, whatever clients ask for

T = TypeVar("T")


def version_of(settings: Settings, name: str) -> object:
    """Of a model of the store: another one once its folder has changed; None where it is gone."""
    model = Inventory(store_root(settings.store)).installed_named(name)
    try:
        return None if model is None else (str(model.path), model.path.stat().st_mtime_ns)
    except OSError:
        return None


class _Throttle:
    """For one kind of look into the store."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looked_at = -_LOOKUP_SECONDS

    def may_look(self) -> bool:
        now = self._clock()
        if now - self._looked_at < _LOOKUP_SECONDS:
            return False
        self._looked_at = now
        return True


class _Reading:
    """Reads the names in the store, at most once in _LOOKUP_SECONDS. Each caller gets a reading that began
    after its call; those that wait for the same reading share it."""

    def __init__(
        self,
        read: Callable[[], list[str]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._read_at = -_LOOKUP_SECONDS
        self._next: asyncio.Task[list[str]] | None = None

    async def names(self) -> list[str]:
        if self._next is None:
            self._next = _begun(self._read_when_due())
        return await asyncio.shield(self._next)

    async def _read_when_due(self) -> list[str]:
        pause = self._read_at + _LOOKUP_SECONDS - self._clock()
        if pause > 0:
            await self._sleep(pause)
        self._next, self._read_at = None, self._clock()
        return await asyncio.to_thread(self._read)


class FoundLater:
    """For a server that serves its whole store. What several callers want at once is done once."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        names: Callable[[Settings], list[str]] = stored_names,
        clock: Callable[[], float] = time.monotonic,
        version: Callable[[Settings, str], object] = version_of,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`names` are those in the store; it is called in a thread, as is `version`, which tells the states
        of a model apart."""
        self.settings = settings
        self._library = library
        self._names = names
        self._version = version
        self._listing = _Throttle(clock)
        self._reading = _Reading(lambda: self._names(self.settings), clock, sleep)
        self._following: asyncio.Task[None] | None = None
        self._finding: dict[str, asyncio.Task[bool]] = {}
        self._failed: dict[str, object] = {}  # the versions of models that cannot be served

    async def follow(self) -> None:
        """Before models are listed, or one is looked at: serve what the store has now."""
        if self._following is None or self._following.done():
            self._following = _begun(self._follow())
        await asyncio.shield(self._following)

    async def _follow(self) -> None:
        for name in self._library.gone():
            with contextlib.suppress(NotFound):  # a load has noticed it as well
                await self._library.remove(name)
        if not (self.settings.serve_store and self._listing.may_look()):
            return
        stored = unnamed(self.settings, await asyncio.to_thread(self._names, self.settings))
        self._failed = {name: version for name, version in self._failed.items() if name in stored}
        for name in set(stored) - self._library.names():
            await self._serve(name)

    async def _serve(self, name: str) -> None:
        """Unless that failed, and nothing has changed since: a conversion may take minutes."""
        if name in self._failed:
            if self._failed[name] == await asyncio.to_thread(self._version, self.settings, name):
                return
            del self._failed[name]
        version = await asyncio.to_thread(self._version, self.settings, name)
        try:
            await self._library.add(name)
        except Conflict:  # somebody else was faster
            pass
        except (NotFound, BadRequest):
            self._failed[name] = version

    async def find(self, name: str) -> bool:
        """Whether a model that was not served is now. Raises ServerError if it cannot be."""
        stored = name.removesuffix(LATEST)
        is_another = stored in self._finding  # which may have read the store before the model came
        return await self._found(stored) or (is_another and await self._found(stored))

    async def _found(self, stored: str) -> bool:
        task = self._finding.get(stored)
        if task is None:
            if not self.settings.serve_store:
                return False
            task = self._finding[stored] = _begun(self._find(stored))
            task.add_done_callback(lambda _: self._finding.pop(stored, None))
        return await asyncio.shield(task)

    async def _find(self, stored: str) -> bool:
        try:
            if stored not in await self._reading.names():
                return False
            await self._library.add(stored)
        except Conflict:  # somebody else was faster
            return True
        except NotFound as error:
            if stored not in await asyncio.to_thread(self._names, self.settings):  # it was just removed
                return False
            raise ServerError(error.message) from None
        return True


def _begun(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task that goes on without those who began it."""
    with asking(ANYBODY):  # not only for the caller whose request comes first
        task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
