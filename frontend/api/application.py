"""The ASGI application: which areas of the API there are, inside the layers that every request passes."""

import time
from functools import partial
from importlib import import_module

import falcon.asgi

from frontend.api import errors
from frontend.api.area import App, Control, Server
from frontend.api.early_head import EarlyHead
from frontend.api.images import Images
from frontend.api.memory import Memory
from frontend.api.middleware import RouteLabel, StoreFollowing
from frontend.api.openapi import resource as openapi
from frontend.api.openapi.routes import RecordingRouter
from frontend.batches.service import Batches
from frontend.config import Settings
from frontend.downloads import Downloads
from frontend.http.asgi import Application
from frontend.http.gate import Access, Gate
from frontend.http.stack import with_stack
from frontend.library import Library
from frontend.observability.metrics import Metrics
from frontend.remote.proxying import Proxying
from frontend.replay.marks import model_mark
from frontend.routing.router import Router
from frontend.sockets.admission import Admission
from frontend.sockets.layer import Sockets
from frontend.spool import Spools
from frontend.spool_folder import spool_folder

# The registry: a new area is a module beside this one with `install(app, server)` in it, and a line here.
AREAS = (
    "chat",
    "completions",
    "inference",
    "responses.resource",
    "responses.input_tokens",
    "responses.compacting",
    "anthropic.resource",
    "tokenizing",
    "embeddings",
    "rerank",
    "transcriptions",
    "speech",
    "voices",
    "realtime.resource",
    "files",
    "batches",
    "models",
    "work",
    "health",
    "admin.models",
    "admin.aliases",
    "admin.events",
    "admin.hosts",
    "admin.incidents",
    "admin.refusals",
    "admin.stats",
    "status",
    "admin.reloading",
    "admin.requests",
    "ollama.chat",
    "ollama.embed",
    "ollama.models",
    "ollama.pull",
    "ollama.refused",
    "ollama.root",
    "ollama.store",
    "admin.downloads",
    "page",
)


def build(
    settings: Settings,
    router: Router,
    metrics: Metrics,
    memory: Memory,
    library: Library | None = None,
    control: Control | None = None,
    downloads: Downloads | None = None,
    batches: Batches | None = None,
) -> Application:
    """Everything that is served on the port. Without a `library`, the router's models stay as they are."""
    server = Server(
        router=router,
        metrics=metrics,
        memory=memory,
        images=Images(settings, router),
        spools=Spools(spool_folder(settings.spool), settings.max_spool_bytes),
        downloads=downloads or Downloads(settings.store),
        batches=batches or Batches(settings, metrics),
        max_body_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        started=int(time.time()),
        library=library or Library(router),
        control=control or Control(),
        store=settings.store,
        ollama_port=settings.ollama_port,
    )
    memory.background.in_flight = server.control.in_flight
    router.quotas.follow(settings)
    router.quotas.refused = lambda owner, kind: metrics.limit_refusals.labels(owner, kind).inc()
    served = server.batches.app = _in_layers(_areas(server), server, settings)
    return served


def _areas(server: Server) -> App:
    """All routes, and the description of them."""
    routes = RecordingRouter()
    app = falcon.asgi.App(router=routes)
    app.add_middleware(RouteLabel())
    app.add_middleware(StoreFollowing(server.control))
    errors.install(app)
    for area in AREAS:
        import_module(f"frontend.api.{area}").install(app, server)
    openapi.install(app, routes.routes)
    return app


def _in_layers(app: App, server: Server, settings: Settings) -> Application:
    router, control = server.router, server.control
    largest = settings.max_body_bytes + server.images.body_bytes()
    proxying = Proxying(EarlyHead(app, settings.max_body_bytes), router, largest, settings.max_queue)
    access = control.access or Access(settings)
    sockets = Sockets(proxying, Admission(lambda app: Gate(app, settings, access)), router.only_model)
    router.on_drain.append(sockets.close)
    sockets.stack = with_stack(
        sockets,
        settings,
        server.metrics,
        access=access,
        quotas=router.quotas,
        in_flight=control.in_flight,
        model_mark=partial(model_mark, router),
        tracing=control.tracing,
    )
    return sockets.stack
