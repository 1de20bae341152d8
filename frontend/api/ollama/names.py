"""Models by the names that Ollama's clients use: without a tag, or with the tag `latest`, the same."""

import falcon.asgi

from frontend.api import served
from frontend.errors import ModelNotFound
from frontend.routing.router import Model, Router
from frontend.shortened import shortened

LATEST = ":latest"
_SHOWN_CHARACTERS = 60


def tagged(name: str) -> str:
    """A served name as Ollama lists it: it always has a tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}{LATEST}"


def spellings(name: str) -> tuple[str, ...]:
    """The names that may be meant, the literal one first."""
    if name.endswith(LATEST):
        return name, name.removesuffix(LATEST)
    return (name,) if ":" in name.rpartition("/")[2] else (name, f"{name}{LATEST}")


def served_name(router: Router, name: str) -> str:
    """The name by which the model is served. Raises ModelNotFound."""
    for spelling in spellings(name):
        try:
            router.route(spelling)
        except ModelNotFound:
            continue
        return spelling
    raise not_found(name)


def not_found(name: str) -> ModelNotFound:
    """In Ollama's words, which clients look for."""
    shown = shortened(name, _SHOWN_CHARACTERS).replace('"', "'")
    return ModelNotFound(f'model "{shown}" not found, try pulling it first', "model")


async def model_of(router: Router, name: str, request: falcon.asgi.Request) -> Model:
    """The model once it is loaded. Raises as `Router.model`."""
    return await served.model_of(router, served_name(router, name), request)
