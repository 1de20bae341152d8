"""Models that came into the store after the start are served too, with the first request for them."""

import asyncio
import time
from collections.abc import Callable

from frontend.config import Settings
from frontend.errors import Conflict, NotFound, ServerError
from frontend.library import Library
from frontend.reload.configuration import stored_names
from frontend.routing.names import LATEST

_LOOKUP_SECONDS = 1.0  # between two looks into the store, whatever clients ask for


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

    async def find(self, name: str) -> bool:
        """Whether a model that was not served is now. Raises ServerError if it cannot be."""
        now = self._clock()
        if not self.settings.serve_store or now - self._looked_at < _LOOKUP_SECONDS:
            return False
        self._looked_at = now
        stored = name.removesuffix(LATEST)
        try:
            if stored not in await asyncio.to_thread(self._names, self.settings):
                return False
            await self._library.add(stored)
        except Conflict:  # somebody else was faster
            return True
        except NotFound as error:
            raise ServerError(error.message) from None
        return True
