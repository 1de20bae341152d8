"""The ASGI application: which areas of the API there are, inside the layers that every request passes."""

import time
from importlib import import_module

import falcon.asgi

from frontend.api import errors
from frontend.api.area import Server
from frontend.api.images import Images
from frontend.api.memory import Memory
from frontend.api.middleware import RouteLabel
from frontend.config import Settings
from frontend.http.asgi import Application
from frontend.http.stack import with_stack
from frontend.library import Library
from frontend.observability.metrics import Metrics
from frontend.routing.router import Router
from frontend.spool import Spools, spool_folder

# The registry: a new area is a module beside this one with `install(app, server)` in it, and a line here.
AREAS = (
    "chat",
    "completions",
    "responses.resource",
    "tokenizing",
    "embeddings",
    "rerank",
    "transcriptions",
    "speech",
    "voices",
    "realtime.resource",
    "models",
    "health",
)


def build(
    settings: Settings,
    router: Router,
    metrics: Metrics,
    memory: Memory,
    library: Library | None = None,
) -> Application:
    """Everything that is served on the port. Without a `library`, the router's models stay as they are."""
    app = falcon.asgi.App(middleware=[RouteLabel()])
    errors.install(app)
    spools = Spools(spool_folder(settings.spool), settings.max_spool_bytes)
    server = Server(
        router,
        metrics,
        memory,
        Images(settings, router),
        spools,
        settings.max_body_bytes,
        settings.max_upload_bytes,
        int(time.time()),
        library or Library(router),
    )
    for area in AREAS:
        import_module(f"frontend.api.{area}").install(app, server)
    return with_stack(app, settings, metrics)
