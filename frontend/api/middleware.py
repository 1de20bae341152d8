"""What Falcon tells the layers around it: the route of each request."""

import falcon.asgi

from frontend.http.exchange import UNKNOWN_ROUTE, exchange_of


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
