"""One path per endpoint: the layer that maps what clients write to it. No redirect, so no request is lost."""

import re

from frontend.http.asgi import Application, Receive, Scope, Send

_VERSION = "/v1"
# What clients ask for if their base URL lacks `/v1`. Other endpoints have paths of their own without it.
_OF_V1 = ("/chat/completions", "/completions", "/embeddings", "/models", "/responses", "/messages")
# The reverse: they have no version, and clients with one base URL for all endpoints add it.
_UNVERSIONED = ("/tokenize", "/detokenize", "/tokenizer_info")
_SLASHES = re.compile("//+")


def canonical(path: str) -> str:
    """`/v1/models` of `/v1//models`, `/v1/models/`, `/models` and `/v1/v1/models`."""
    path = _SLASHES.sub("/", path).rstrip("/") or "/"
    while path.startswith(f"{_VERSION}{_VERSION}/"):  # a base URL with it, and a client that adds it
        path = path.removeprefix(_VERSION)
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in _OF_V1):
        return _VERSION + path
    if path.removeprefix(_VERSION) in _UNVERSIONED:
        return path.removeprefix(_VERSION)
    return path


class CanonicalPaths:
    """Layers inside see one path per endpoint: access rules cannot differ from what is then answered."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "path" in scope:
            scope = {**scope, "path": canonical(scope["path"])}
        await self._app(scope, receive, send)
