"""The ASGI application: which URL is answered by which resource."""

import time
from typing import Any

import falcon.asgi

from frontend.api import errors
from frontend.api.chat import ChatCompletions
from frontend.api.client import Application, DisconnectWatch
from frontend.api.completions import Completions
from frontend.api.embeddings import Embeddings
from frontend.api.health import Health, MetricsPage, Ready
from frontend.api.keep_alive import StreamKeepAlive
from frontend.api.memory import Memory
from frontend.api.middleware import Access, RequestIdentity
from frontend.api.models import Models
from frontend.api.rerank import Reranking, Scoring
from frontend.api.responses import Responses
from frontend.api.tokenizing import Tokenizing
from frontend.config import Settings
from frontend.observability.metrics import Metrics
from frontend.routing.router import Router


def build(settings: Settings, router: Router, metrics: Metrics, memory: Memory) -> Application:
    middleware: list[Any] = [RequestIdentity(metrics), Access(settings)]  # of unlike protocols
    app = falcon.asgi.App(middleware=middleware)
    errors.install(app)
    models = Models(router, int(time.time()))
    ready = Ready(router)
    largest = settings.max_body_bytes
    app.add_route("/v1/chat/completions", ChatCompletions(router, memory.conversations, largest))
    app.add_route("/v1/completions", Completions(router, largest))
    app.add_route("/v1/embeddings", Embeddings(router, largest))
    reranking = Reranking(router, largest)
    app.add_route("/v1/rerank", reranking, suffix="v1")
    app.add_route("/rerank", reranking, suffix="v1")
    app.add_route("/v2/rerank", reranking, suffix="v2")
    scoring = Scoring(router, largest)
    app.add_route("/v1/score", scoring)
    app.add_route("/score", scoring)
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
    return StreamKeepAlive(DisconnectWatch(app))
