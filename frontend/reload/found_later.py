"""A server of the whole store follows it: models that come are served, and those that went no longer are."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from frontend.config import Settings
from frontend.errors import BadRequest, Conflict, NotFound, ServerError
from frontend.library import Library
from frontend.reload.configuration import stored_names
from frontend.routing.names import LATEST

_LOOKUP_SECONDS = 0.2  # between two looks into the store, whatever clients ask for


class FoundLater:
    """For a server that serves its whole store."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        names: Callable[[Settings], list[str]] = stored_names,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`names` are those in the store; it is called in a thread."""
        self.settings = settings
        self._library = library
        self._names = names
        self._clock = clock
        self._looked_at = -_LOOKUP_SECONDS

    async def follow(self) -> None:
        """Before models are listed, or one is looked at: serve what the store has now."""
        for name in self._library.gone():
            with contextlib.suppress(NotFound):  # somebody else was faster
                await self._library.remove(name)
        if not self._may_look():
            return
        stored = await asyncio.to_thread(self._names, self.settings)
        for name in set(stored) - self._library.names():
            with contextlib.suppress(Conflict, NotFound, BadRequest):  # it cannot be served
                await self._library.add(name)

    def _may_look(self) -> bool:
        now = self._clock()
        if not self.settings.serve_store or now - self._looked_at < _LOOKUP_SECONDS:
            return False
        self._looked_at = now
        return True

    async def find(self, name: str) -> bool:
        """Whether a model that was not served is now. Raises ServerError if it cannot be."""
        if not self._may_look():
            return False
        stored = name.removesuffix(LATEST)
        try:
            if stored not in await asyncio.to_thread(self._names, self.settings):
                return False
            await self._library.add(stored)
        except Conflict:  # somebody else was faster
            return True
        except NotFound as error:
            if stored not in await asyncio.to_thread(self._names, self.settings):  # it was just removed
                return False
            raise ServerError(error.message) from None
        return True
