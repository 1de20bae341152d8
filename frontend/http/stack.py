"""The layers that every request passes, whichever application answers it."""

import time
from collections.abc import Callable

from frontend.config import Settings
from frontend.http.access_log import AccessLog
from frontend.http.asgi import Application
from frontend.http.client import DisconnectWatch
from frontend.http.gate import Access, Gate
from frontend.http.identity import Identity
from frontend.http.in_flight import InFlight
from frontend.http.keep_alive import StreamKeepAlive
from frontend.http.limiter import Limiter
from frontend.http.paths import CanonicalPaths
from frontend.limits.quotas import Quotas
from frontend.observability.metrics import Metrics
from frontend.observability.traces import Tracing
from frontend.replay.layer import ModelMark, Replay, ReplayOptions


def with_stack(
    app: Application,
    settings: Settings,
    metrics: Metrics,
    clock: Callable[[], float] = time.monotonic,
    access: Access | None = None,
    model_mark: ModelMark = lambda _: None,
    quotas: Quotas | None = None,
    in_flight: InFlight | None = None,
    tracing: Tracing | None = None,
) -> Application:
    """Wrap an ASGI application, outermost layer last. HTTP and WebSockets pass; other scopes are left alone.

    Inside, `exchange_of(scope)` takes the route and the reason of a failure, `client_of(scope)` reports a
    disconnect (HTTP only), and `writer_of(scope)` writes streams where the server offers it. `clock`
    returns seconds. `model_mark` is as in `Replay`.
    """
    app = StreamKeepAlive(app)
    app = DisconnectWatch(app, clock)
    options = ReplayOptions(
        cache_bytes=settings.response_cache_bytes,
        cache_seconds=settings.response_cache_seconds,
        grace_seconds=settings.retry_grace_seconds,
        max_body_bytes=settings.max_body_bytes,
    )
    quotas, in_flight = quotas or Quotas(), in_flight or InFlight()
    app = Replay(app, options, model_mark, metrics, clock, quotas.max_concurrent, in_flight)
    app = Limiter(app, quotas)
    app = CanonicalPaths(Gate(app, settings, access))
    app = AccessLog(app, metrics, clock, in_flight, tracing)
    return Identity(app, clock)
