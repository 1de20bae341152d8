"""POST /v1/messages and /v1/messages/count_tokens."""

import uuid
from functools import partial

import falcon.asgi
import msgspec

from frontend.api.anthropic.answers import MessageEvents, usage_of, whole
from frontend.api.anthropic.request import carried_characters, only_fills_the_cache, turn_of
from frontend.api.anthropic.thinking import OMITTED
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.generating import off_loop, respond_json
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import TurnSpec
from frontend.api.questions import check_countable, count_of
from frontend.api.schema.messages import (
    BlockDelta,
    BlockStart,
    BlockStop,
    CountTokensRequest,
    MessageAnswer,
    MessageDelta,
    MessagesRequest,
    MessageStart,
    MessageStop,
    TokensCount,
)
from frontend.api.served import model_of
from frontend.api.sse import EVENT_STREAM, Framing, Stream, respond_streaming
from frontend.api.turns import AnyTurn, TurnEvent, begin_turn
from frontend.http.error_body import error_event
from frontend.http.exchange import exchange_of
from frontend.http.keep_alive import PING

_messages = msgspec.json.Decoder(MessagesRequest)
_count = msgspec.json.Decoder(CountTokensRequest)


class Messages:
    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._images = server.images
        self._limit = server.max_body_bytes

    @describes(
        "A message",
        body=MessagesRequest,
        answer=MessageAnswer,
        events=MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop,
        errors=OF_ENGINES,
        example={
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 4,
        },
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        extra = self._images.body_bytes()
        body, is_large = await read_json(request, self._limit, _messages, extra, carried_characters)
        spec = await off_loop(body.has_schemas or is_large, turn_of, body)
        only_prompt = only_fills_the_cache(body)
        omits = body.thinking is not None and body.thinking.display == OMITTED
        if body.stream:
            begin = self._stream(body, spec, omits, request)
            await respond_streaming(request, response, begin, _framing(request), heartbeat=lambda: PING)
            return
        message, turn = await self._begin(body, spec, request)
        answer = await whole(message, turn, body.max_tokens, omits_thinking=omits)
        if only_prompt:
            answer.content, answer.stop_reason, answer.stop_sequence = [], "max_tokens", None
            answer.usage.output_tokens = answer.usage.output_tokens_details.thinking_tokens = 0
        respond_json(response, answer)

    @describes(
        "The number of tokens of a message's prompt",
        body=CountTokensRequest,
        answer=TokensCount,
        errors=OF_ENGINES,
        example={"model": "smollm2", "messages": [{"role": "user", "content": "Say hello."}]},
    )
    async def on_post_count(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        extra = self._images.body_bytes()
        body, is_large = await read_json(request, self._limit, _count, extra, carried_characters)
        spec = await off_loop(body.has_schemas or is_large, turn_of, body)
        check_countable(spec)  # before a model is loaded for it
        model = await model_of(self._router, spec.model, request, spec.variant_key)
        respond_json(response, TokensCount(await count_of(model, spec, request)))

    async def _stream(
        self, body: MessagesRequest, spec: TurnSpec, omits: bool, request: falcon.asgi.Request
    ) -> Stream[tuple[int, TurnEvent]]:
        message, turn = await self._begin(body, spec, request)
        events = MessageEvents(message, turn, body.max_tokens, omits_thinking=omits)
        return Stream(turn, events.encode, events.ending, turn.close, events.opening)

    async def _begin(
        self, body: MessagesRequest, spec: TurnSpec, request: falcon.asgi.Request
    ) -> tuple[MessageAnswer, AnyTurn]:
        model = await model_of(self._router, spec.model, request, spec.variant_key)
        await self._images.fill(spec, request)
        body.messages.clear()  # images are large
        turn = await begin_turn(model, spec, request)
        usage = usage_of(turn.usage)
        return MessageAnswer(id=f"msg_{uuid.uuid4().hex}", model=model.name, content=[], usage=usage), turn


def _framing(request: falcon.asgi.Request) -> Framing:
    request_id = exchange_of(request.scope).request_id
    return Framing(EVENT_STREAM, partial(error_event, request.path, request_id=request_id))


def install(app: App, server: Server) -> None:
    messages = Messages(server)
    app.add_route("/v1/messages", messages)
    app.add_route("/v1/messages/count_tokens", messages, suffix="count")
