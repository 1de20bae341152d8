"""What happens around Falcon's resources."""

import falcon.asgi

from frontend.api.area import Control
from frontend.http.exchange import UNKNOWN_ROUTE, exchange_of

_ABOUT_MODELS = ("/v1/models", "/api/", "/admin/models")
_INFERENCE = ("/api/chat", "/api/generate", "/api/embed")  # and /api/embeddings


class StoreFollowing:
    """Lets a server look at its store before requests that list models or name one otherwise than for
    inference, which looks by itself where it finds no model."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def process_request(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        path = request.path
        is_about_models = path.startswith(_ABOUT_MODELS) and not path.startswith(_INFERENCE)
        if self._control.follow_store is not None and is_about_models:
            await self._control.follow_store()


class RouteLabel:
    """Labels a request by the template of its URL; what matches no route stays unknown."""

    async def process_resource(
        self,
        request: falcon.asgi.Request,
        response: falcon.asgi.Response,
        resource: object,
        params: dict[str, object],
    ) -> None:
        if request.uri_template is not None:
            exchange_of(request.scope).route = request.uri_template

    async def process_resource_ws(
        self,
        request: falcon.asgi.Request,
        socket: falcon.asgi.WebSocket,
        resource: object,
        params: dict[str, object],
    ) -> None:
        exchange_of(request.scope).route = request.uri_template or UNKNOWN_ROUTE
