"""What happens to every request: an id, the access checks, and a line in log and metrics."""

import logging
import re
import time
import uuid

import falcon
import falcon.asgi

from frontend.api.access import check_host, check_key, origin_allowed
from frontend.config import Settings
from frontend.errors import Forbidden
from frontend.observability.metrics import Metrics

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

_PROBED = ("/health", "/ready", "/metrics")  # asked so often that they would bury everything else

log = logging.getLogger("nacelle.access")


class RequestIdentity:
    """Gives each request the id its client sent, or a new one, and records how it went."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def process_request(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        given = request.get_header("X-Request-ID") or ""
        request.context.id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        request.context.began = time.monotonic()
        response.set_header("X-Request-ID", request.context.id)

    async def process_response(
        self,
        request: falcon.asgi.Request,
        response: falcon.asgi.Response,
        resource: object,
        req_succeeded: bool,
    ) -> None:
        status = str(response.status_code)
        self._metrics.requests.labels(request.uri_template or "unknown", status).inc()
        log.log(
            logging.DEBUG if request.path.startswith(_PROBED) else logging.INFO,
            "%s %s %s",
            request.method,
            request.path,
            status,
            extra={
                "request_id": request.context.id,
                "seconds": round(time.monotonic() - request.context.began, 4),
            },
        )


class Access:
    """Refuses strangers, and answers browsers of allowed origins as they need it (CORS)."""

    def __init__(self, settings: Settings) -> None:
        self._api_key = settings.api_key
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        self._origins = set(settings.allowed_origins)

    async def process_request(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        host = request.get_header("Host")
        if self._api_key is None:  # a rebound page cannot know the key
            check_host(host, self._hosts)
        origin = request.get_header("Origin")
        if origin is not None:
            if not origin_allowed(origin, host, self._origins):
                raise Forbidden(f"pages of {origin} may not call this server; see --allowed-origin")
            response.set_header("Access-Control-Allow-Origin", origin)
            response.set_header("Access-Control-Expose-Headers", "X-Request-ID, Retry-After")
            response.append_header("Vary", "Origin")
            if request.method == "OPTIONS":
                _answer_preflight(request, response)
                return
        if self._api_key is not None:
            check_key(request.get_header("Authorization"), self._api_key, request.path)


def _answer_preflight(request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
    response.status = falcon.HTTP_204
    response.set_header("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
    # OpenAI's client sends a dozen headers of its own; the origin has been checked.
    wanted = request.get_header("Access-Control-Request-Headers") or "Authorization, Content-Type"
    response.set_header("Access-Control-Allow-Headers", wanted)
    response.set_header("Access-Control-Max-Age", "600")
    response.complete = True
