"""The models that requests name, for the endpoints and for the access log."""

from collections.abc import Collection

import falcon.asgi

from frontend.api.client import on_leave_of
from frontend.errors import ModelNotFound
from frontend.http.exchange import exchange_of
from frontend.routing.route import Route
from frontend.routing.router import Model, Router

_LISTED = 8
_SHOWN_CHARACTERS = 60  # of a name


async def model_of(router: Router, name: str, request: falcon.asgi.Request | None) -> Model:
    """The model once it is loaded, unless the client of `request` leaves before; None: nobody waits.

    Raises as `Router.model`.
    """
    if request is not None:
        exchange_of(request.scope).model = name
    route_of(router, name)
    return await router.model(name, on_leave_of(request))


def route_of(router: Router, name: str) -> Route:
    """Raises ModelNotFound, which lists the models that there are."""
    if name not in router.routes:
        raise ModelNotFound(unknown_model(name, router.routes), "model")
    return router.route(name)


def unknown_model(name: str, served: Collection[str]) -> str:
    """What is wrong with a name, within a few lines whatever it is and however many models there are."""
    listed = ", ".join(repr(_shown(model)) for model in list(served)[:_LISTED]) or "none"
    more = f" and {len(served) - _LISTED} more, see GET /v1/models" if len(served) > _LISTED else ""
    return f"the model {_shown(name)!r} does not exist; models served here: {listed}{more}"


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"
