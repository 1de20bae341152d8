"""Falcon's router, which also remembers what was added to it."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from falcon.routing import CompiledRouter, map_http_methods

_WEBSOCKET = "WEBSOCKET"  # Falcon's name for the method of `on_websocket`


class Route(msgspec.Struct, frozen=True):
    template: str  # as Falcon has it
    method: str  # of HTTP
    responder: Callable[..., Any]


class RecordingRouter(CompiledRouter):
    def __init__(self) -> None:
        super().__init__()
        self._added: list[tuple[str, object, str | None]] = []

    def add_route(self, uri_template: str, resource: object, **options: Any) -> None:
        super().add_route(uri_template, resource, **options)
        self._added.append((uri_template, resource, options.get("suffix")))

    def routes(self) -> Iterator[Route]:
        """Every method of every path that a resource implements, in the order in which they were added. A
        WebSocket is a GET, in place of the one that refuses clients without an upgrade."""
        for template, resource, suffix in self._added:
            responders = dict(map_http_methods(resource, suffix=suffix))
            websocket = responders.pop(_WEBSOCKET, None)
            if websocket is not None:
                responders["GET"] = websocket
            for method, responder in responders.items():
                yield Route(template, method, responder)
