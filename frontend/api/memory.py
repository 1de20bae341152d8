"""What outlives a request: stored responses and conversations, and responses made in the background."""

from functools import partial

from frontend.api.responses.background import Background
from frontend.api.responses.records import Records
from frontend.api.turns import begin_turn_of
from frontend.config import Settings
from frontend.routing.router import Router
from frontend.sessions.conversations import Conversations
from frontend.sessions.limits import StoreLimits
from frontend.sessions.store import open_store


class Memory:
    def __init__(self, settings: Settings, router: Router) -> None:
        """Raises ConfigError."""
        limits = StoreLimits(
            ttl_seconds=settings.session_ttl_seconds,
            max_entries=settings.session_max_entries,
            max_bytes=settings.session_max_bytes,
        )
        self._store = open_store(settings.session_store, limits)
        seconds = settings.request_timeout_seconds
        self.begin = partial(begin_turn_of, router)
        self.conversations = Conversations(self._store, seconds)
        self.records = Records(self._store)
        self.background = Background(self.begin, self.records, seconds)

    async def close(self) -> None:
        """Nothing is kept from now on."""
        await self._store.close()
