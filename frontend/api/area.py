"""What an area of the API is given to install its routes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import falcon.asgi
import msgspec

from frontend.api.images import Images
from frontend.api.memory import Memory
from frontend.downloads import Downloads
from frontend.http.gate import Access
from frontend.library import Library
from frontend.observability.metrics import Metrics
from frontend.observability.traces import Tracing
from frontend.reload.plan import ReloadPlan
from frontend.routing.router import Router
from frontend.spool import Spools

App = falcon.asgi.App[Any, Any]


class Control:
    """What concerns the server as a whole."""

    def __init__(self, access: Access | None = None) -> None:
        """`access`: who may make requests, if that may change."""
        self.access = access
        self.tracing: Tracing | None = None
        # Raises ConfigError or ModelError where nothing was changed.
        self.reload: Callable[[], Awaitable[ReloadPlan]] | None = None
        # Serves what the store has now.
        self.follow_store: Callable[[], Awaitable[None]] | None = None
        self.stopping = asyncio.Event()  # streams without an end of their own end then


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the server that areas share."""

    router: Router
    metrics: Metrics
    memory: Memory
    images: Images
    spools: Spools
    downloads: Downloads
    max_body_bytes: int
    max_upload_bytes: int
    started: int  # in Unix seconds
    library: Library
    control: Control
    store: str | None = None  # the folder of models, as configured
    ollama_port: int | None = None  # the port that is for Ollama's clients
