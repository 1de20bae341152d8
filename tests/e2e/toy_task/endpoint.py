"""POST /v1/reverse."""

from typing import cast

import falcon.asgi
import msgspec
from ipc.messages.reverse import Reverse, Reversed

from frontend.api.area import App, Server
from frontend.api.body import decode, read_body
from frontend.api.client import on_leave_of
from frontend.api.generating import respond_json


class ReverseRequest(msgspec.Struct):
    model: str
    text: str


class ReverseAnswer(msgspec.Struct):
    text: str


_decoder = msgspec.json.Decoder(ReverseRequest)


class ReverseTexts:
    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body = decode(await read_body(request, self._server.max_body_bytes), _decoder)
        on_leave = on_leave_of(request)
        model = await self._server.router.model(body.model, on_leave)
        encoded = msgspec.msgpack.encode(body.text)
        answer = cast(Reversed, await model.ask(Reverse(0, b""), encoded, "text", on_leave))
        respond_json(response, ReverseAnswer(answer.text))


def install(app: App, server: Server) -> None:
    app.add_route("/v1/reverse", ReverseTexts(server))
