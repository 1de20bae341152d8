"""The models that requests name, for the endpoints and for the access log."""

import falcon.asgi

from frontend.api.client import on_leave_of
from frontend.http.exchange import exchange_of
from frontend.routing.router import Model, Router


async def model_of(router: Router, name: str, request: falcon.asgi.Request | None) -> Model:
    """The model once it is loaded, unless the client of `request` leaves before; None: nobody waits.

    Raises as `Router.model`.
    """
    if request is not None:
        exchange_of(request.scope).model = name
    return await router.model(name, on_leave_of(request))
