"""POST /v1/responses/compact: a summary in place of a conversation."""

import time
from typing import Literal

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.generating import off_loop, respond_json
from frontend.api.images import Images
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import NO_REASONING, TurnSpec
from frontend.api.responses.builder import usage_body
from frontend.api.responses.compaction import INSTRUCTION, cut, sealed
from frontend.api.responses.items import ItemImages, messages_of
from frontend.api.responses.reading import Conversation, RequestReader
from frontend.api.responses.request import offered_to
from frontend.api.responses.resource import new_id
from frontend.api.responses.stream import BeginTurn, naming_params
from frontend.api.schema.common import MANY_MESSAGES, variant_key
from frontend.api.schema.response_items import CompactionItem, MessageItem
from frontend.api.schema.responses import CompactedBody, ResponsesRequest
from frontend.api.turns import AnyTurn, Finished, StartedOver
from frontend.errors import BadRequest, EngineFailed
from frontend.parsing.events import Content
from ipc.messages import ChatMessage, Sampling

_SUMMARY_TOKENS = 1024

_decoder = msgspec.json.Decoder(ResponsesRequest)


class Compacting:
    def __init__(self, begin: BeginTurn, images: Images, reader: RequestReader) -> None:
        self._begin = naming_params(begin)
        self._images = images
        self._reader = reader

    @describes(
        "A summary in place of a conversation",
        body=ResponsesRequest,
        answer=CompactedBody,
        errors=OF_ENGINES,
        example={"model": "smollm2", "input": "Say hello.", "max_output_tokens": 4},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, conversation = await self._reader.read(request, _decoder)
        spec = await off_loop(len(conversation.items) > MANY_MESSAGES, _summarizing, body, conversation)
        await self._images.fill(spec, request, conversation.known)
        turn = await self._begin(spec, request)
        try:
            summary = await _summary_of(turn, body.max_output_tokens or _SUMMARY_TOKENS)
        finally:
            turn.close()
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
    offered = offered_to(body, conversation.items)
    messages = messages_of(conversation.items, body.instructions, images, offered)
    if not conversation.items:
        raise BadRequest("input: there is nothing to compact", "input")
    effort = body.reasoning.effort if body.reasoning is not None else None
    return TurnSpec(
        model=body.model,
        variant_key=variant_key(body.user, body.safety_identifier, body.prompt_cache_key),
        messages=[*messages, ChatMessage("user", INSTRUCTION)],
        samplings=[Sampling(max_tokens=body.max_output_tokens or _SUMMARY_TOKENS)],
        reasoning_effort=effort or NO_REASONING,  # or it might use up the tokens
        images=images.given.found,
    )


async def _summary_of(turn: AnyTurn, most_tokens: int) -> str:
    """The text without the reasoning. Raises ServerError or ClientGone."""
    pieces: list[str] = []
    reason: Literal["stop", "length", "tool_calls"] = "stop"
    while pairs := await turn.events():
        for _, event in pairs:
            match event:
                case Content(text):
                    pieces.append(text)
                case Finished(reason=reason):
                    pass
                case StartedOver():
                    pieces.clear()
    text = "".join(pieces).strip()
    if text:
        return cut(text) if reason == "length" else text
    if reason == "length":
        raise BadRequest(
            f"max_output_tokens: the model wrote no summary within {most_tokens} tokens; allow more, or set "
            "reasoning.effort to none",
            "max_output_tokens",
        )
    raise EngineFailed("the model wrote no summary; try again, or with another model")


def install(app: App, server: Server) -> None:
    memory = server.memory
    reader = RequestReader(server.images, memory.records, memory.background, new_id, server.max_body_bytes)
    app.add_route("/v1/responses/compact", Compacting(memory.begin, server.images, reader))
