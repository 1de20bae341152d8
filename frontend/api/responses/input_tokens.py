"""POST /v1/responses/input_tokens: the length of a response's prompt."""

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.errors import renaming_params
from frontend.api.generating import off_loop, respond_json
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.questions import count_of
from frontend.api.responses.reading import RequestReader
from frontend.api.responses.request import param_names, turn_of
from frontend.api.responses.resource import new_id
from frontend.api.schema.common import MANY_MESSAGES
from frontend.api.schema.responses import InputTokens, ResponsesRequest
from frontend.api.served import model_of
from frontend.routing.router import Router

_decoder = msgspec.json.Decoder(ResponsesRequest)


class InputTokenCounts:
    def __init__(self, router: Router, reader: RequestReader) -> None:
        self._router = router
        self._reader = reader

    @describes(
        "The number of tokens of a response's prompt",
        body=ResponsesRequest,
        answer=InputTokens,
        errors=OF_ENGINES,
        example={"model": "smollm2", "input": "Say hello."},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, conversation = await self._reader.read(request, _decoder)
        may_take_long = body.is_constrained or len(conversation.items) > MANY_MESSAGES
        spec, _ = await off_loop(may_take_long, turn_of, body, conversation.items)
        with renaming_params(param_names(spec)):
            model = await model_of(self._router, spec.model, request, spec.variant_key)
            respond_json(response, InputTokens(await count_of(model, spec, request)))


def install(app: App, server: Server) -> None:
    memory = server.memory
    reader = RequestReader(server.images, memory.records, memory.background, new_id, server.max_body_bytes)
    app.add_route("/v1/responses/input_tokens", InputTokenCounts(server.router, reader))
