"""Models by the names that Ollama's clients use. The router resolves them; here they get Ollama's form."""

import contextlib
from collections.abc import Iterator

import falcon.asgi

from frontend.api import served
from frontend.errors import ModelNotFound
from frontend.routing.names import LATEST
from frontend.routing.route import Route
from frontend.routing.router import Model, Router
from frontend.shortened import shortened

_SHOWN_CHARACTERS = 60


def tagged(name: str) -> str:
    """A served name as Ollama lists it: it always has a tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}{LATEST}"


@contextlib.contextmanager
def naming_missing(name: str) -> Iterator[None]:
    """What is not found is reported in Ollama's words, which clients look for."""
    try:
        yield
    except ModelNotFound:
        shown = shortened(name, _SHOWN_CHARACTERS).replace('"', "'")
        raise ModelNotFound(f'model "{shown}" not found, try pulling it first', "model") from None


def route_of(router: Router, name: str) -> Route:
    """Raises ModelNotFound."""
    with naming_missing(name):
        return router.route(name)


async def model_of(router: Router, name: str, request: falcon.asgi.Request) -> Model:
    """The model once it is loaded. Raises as `Router.model`."""
    with naming_missing(name):
        return await served.model_of(router, name, request)
