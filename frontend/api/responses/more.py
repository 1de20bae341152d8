"""POST /v1/responses/input_tokens and /v1/responses/compact: about a conversation, without answering it."""

import time

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.generating import off_loop, respond_json
from frontend.api.images import Images
from frontend.api.prompting import TurnSpec
from frontend.api.questions import count_of
from frontend.api.responses.builder import usage_body
from frontend.api.responses.compaction import INSTRUCTION, sealed
from frontend.api.responses.items import ItemImages, messages_of
from frontend.api.responses.reading import Conversation, RequestReader
from frontend.api.responses.request import turn_of
from frontend.api.responses.resource import new_id
from frontend.api.responses.stream import BeginTurn
from frontend.api.schema.common import variant_key
from frontend.api.schema.response_items import CompactionItem, MessageItem
from frontend.api.schema.responses import CompactedBody, InputTokens, ResponsesRequest
from frontend.api.served import model_of
from frontend.api.turns import AnyTurn, StartedOver
from frontend.errors import BadRequest, EngineFailed
from frontend.parsing.events import Content
from frontend.routing.router import Router
from ipc.messages import ChatMessage, Sampling

_SUMMARY_TOKENS = 1024
_MANY_ITEMS = 500  # take milliseconds

_decoder = msgspec.json.Decoder(ResponsesRequest)


class More:
    """Both endpoints; `suffix` tells them apart."""

    def __init__(self, router: Router, begin: BeginTurn, images: Images, reader: RequestReader) -> None:
        self._router = router
        self._begin = begin
        self._images = images
        self._reader = reader

    async def on_post_input_tokens(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response
    ) -> None:
        body, conversation = await self._reader.read(request, _decoder)
        may_take_long = body.is_constrained or len(conversation.items) > _MANY_ITEMS
        spec = await off_loop(may_take_long, turn_of, body, conversation.items)
        model = await model_of(self._router, spec.model, request, spec.variant_key)
        respond_json(response, InputTokens(await count_of(model, spec, request)))

    async def on_post_compact(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, conversation = await self._reader.read(request, _decoder)
        spec = await off_loop(len(conversation.items) > _MANY_ITEMS, _summarizing, body, conversation)
        await self._images.fill(spec, request, conversation.known)
        turn = await self._begin(spec, request)
        try:
            summary = await _text_of(turn)
        finally:
            turn.close()
        if not summary:
            raise EngineFailed("the model wrote no summary; try again, or with another model")
        asked = [item for item in conversation.items if isinstance(item, MessageItem) and item.role == "user"]
        compacted = CompactedBody(
            id=new_id("resp"),
            created_at=int(time.time()),
            output=[*asked, CompactionItem(id=new_id("cmp"), encrypted_content=sealed(summary))],
            usage=usage_body(turn.usage),
        )
        respond_json(response, compacted)


def _summarizing(body: ResponsesRequest, conversation: Conversation) -> TurnSpec:
    """The turn that summarizes a conversation. Raises BadRequest."""
    images = ItemImages(body.input)
    messages = messages_of(conversation.items, body.instructions, images)
    if not conversation.items:
        raise BadRequest("input: there is nothing to compact", "input")
    return TurnSpec(
        model=body.model,
        variant_key=variant_key(body.user, body.safety_identifier, body.prompt_cache_key),
        messages=[*messages, ChatMessage("user", INSTRUCTION)],
        samplings=[Sampling(max_tokens=body.max_output_tokens or _SUMMARY_TOKENS)],
        reasoning_effort=body.reasoning.effort if body.reasoning is not None else None,
        images=images.given.found,
    )


async def _text_of(turn: AnyTurn) -> str:
    """Without the reasoning. Raises ServerError or ClientGone."""
    pieces: list[str] = []
    while pairs := await turn.events():
        for _, event in pairs:
            if isinstance(event, Content):
                pieces.append(event.text)
            elif isinstance(event, StartedOver):
                pieces.clear()
    return "".join(pieces).strip()


def install(app: App, server: Server) -> None:
    memory = server.memory
    reader = RequestReader(server.images, memory.records, memory.background, new_id, server.max_body_bytes)
    more = More(server.router, memory.begin, server.images, reader)
    app.add_route("/v1/responses/input_tokens", more, suffix="input_tokens")
    app.add_route("/v1/responses/compact", more, suffix="compact")
