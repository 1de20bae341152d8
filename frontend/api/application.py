"""The ASGI application: which URL is answered by which resource."""

import time
from functools import partial
from typing import Any

import falcon.asgi

from frontend.api import errors
from frontend.api.chat import ChatCompletions
from frontend.api.client import Application, DisconnectWatch
from frontend.api.completions import Completions
from frontend.api.health import Health, MetricsPage, Ready
from frontend.api.middleware import Access, RequestIdentity
from frontend.api.models import Models
from frontend.api.response_background import Background
from frontend.api.response_records import Records
from frontend.api.responses import Responses
from frontend.api.tokenizing import Tokenizing
from frontend.api.turns import begin_turn
from frontend.config import Settings
from frontend.observability.metrics import Metrics
from frontend.routing.router import Router
from frontend.sessions.conversations import Conversations
from frontend.sessions.limits import Limits
from frontend.sessions.store import open_store


class Memory:
    """What outlives a request: stored responses and conversations, and responses made in the background."""

    def __init__(self, settings: Settings, router: Router) -> None:
        """Raises ConfigError."""
        limits = Limits(
            ttl_seconds=settings.session_ttl_seconds,
            max_entries=settings.session_max_entries,
            max_bytes=settings.session_max_bytes,
        )
        self._store = open_store(settings.session_store, limits)
        seconds = settings.request_timeout_seconds
        self.begin = partial(begin_turn, router)
        self.conversations = Conversations(self._store, seconds)
        self.records = Records(self._store)
        self.background = Background(self.begin, self.records, seconds)

    async def close(self, seconds: float) -> None:
        """Let what runs in the background finish within `seconds`."""
        await self.background.close(seconds)
        await self._store.close()


def build(settings: Settings, router: Router, metrics: Metrics, memory: Memory) -> Application:
    middleware: list[Any] = [RequestIdentity(metrics), Access(settings)]  # of unlike protocols
    app = falcon.asgi.App(middleware=middleware)
    errors.install(app)
    models = Models(router, int(time.time()))
    ready = Ready(router)
    largest = settings.max_body_bytes
    app.add_route("/v1/chat/completions", ChatCompletions(router, memory.conversations, largest))
    app.add_route("/v1/completions", Completions(router, largest))
    responses = Responses(memory.begin, memory.records, memory.background, largest)
    app.add_route("/v1/responses", responses)
    app.add_route("/v1/responses/{response_id}", responses, suffix="one")
    app.add_route("/v1/responses/{response_id}/cancel", responses, suffix="cancel")
    app.add_route("/v1/responses/{response_id}/input_items", responses, suffix="items")
    tokenizing = Tokenizing(router, largest)
    app.add_route("/v1/chat/completions/render", tokenizing, suffix="render")
    app.add_route("/tokenize", tokenizing, suffix="tokenize")
    app.add_route("/detokenize", tokenizing, suffix="detokenize")
    app.add_route("/v1/models", models)
    app.add_route("/v1/models/{model:path}", models, suffix="one")
    app.add_route("/health", Health())
    app.add_route("/ready", ready)
    app.add_route("/ready/{model:path}", ready, suffix="one")
    app.add_route("/metrics", MetricsPage(router, metrics))
    return DisconnectWatch(app)
