"""What an area of the API is given to install its routes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import falcon.asgi
import msgspec

from frontend.api.images import Images
from frontend.api.memory import Memory
from frontend.batches.service import Batches
from frontend.downloads import Downloads
from frontend.http.exchange import Exchange, TokenCounts
from frontend.http.gate import Access
from frontend.http.in_flight import InFlight
from frontend.library import Library
from frontend.observability.incidents import Incidents
from frontend.observability.metrics import Metrics
from frontend.observability.notices import Notices
from frontend.observability.tally import Ended, Tally
from frontend.reload.plan import ReloadPlan
from frontend.routing.router import Router
from frontend.spool import Spools

App = falcon.asgi.App[Any, Any]


class Control:
    """What concerns the server as a whole."""

    def __init__(self, access: Access | None = None, incidents: Incidents | None = None) -> None:
        """`access`: who may make requests, if that may change."""
        self.access = access
        self.in_flight = InFlight()
        self.tally = Tally(time.monotonic)
        self.in_flight.on_end.append(self._count)
        self.incidents = incidents or Incidents()
        self.notices = Notices()
        # Raises ConfigError or ModelError where nothing was changed.
        self.reload: Callable[[], Awaitable[ReloadPlan]] | None = None
        # Serves what the store has now.
        self.follow_store: Callable[[], Awaitable[None]] | None = None
        self.stopping = asyncio.Event()  # streams without an end of their own end then

    def _count(self, exchange: Exchange, seconds: float, tokens: TokenCounts | None) -> None:
        first_token = exchange.first_token_seconds
        self.tally.add(
            Ended(
                model=exchange.answered_by,
                outcome=exchange.outcome,
                seconds=seconds,
                first_token_seconds=first_token() if first_token is not None else None,
                prompt_tokens=tokens.prompt if tokens is not None else 0,
                completion_tokens=(tokens.completion or 0) if tokens is not None else 0,
            )
        )


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the server that areas share."""

    router: Router
    metrics: Metrics
    memory: Memory
    images: Images
    spools: Spools
    downloads: Downloads
    batches: Batches
    max_body_bytes: int
    max_upload_bytes: int
    started: int  # in Unix seconds
    library: Library
    control: Control
    store: str | None = None  # the folder of models, as configured
    ollama_port: int | None = None  # the port that is for Ollama's clients
