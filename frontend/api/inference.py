"""POST /v1/inference_sse: an answer as server-sent events that hold nothing but text.

This is what FabricAI's inference server offered: `data:` with a part of the text, and `data: ERROR: …`. With
`"events": "json"`, events have the names and fields of those of Socket.IO.
"""

import re
from functools import partial
from typing import Any

import falcon.asgi
import msgspec
from msgspec import UNSET

from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.chat import ChatCompletions, image_characters, turn_spec
from frontend.api.chat_answer import ChoiceAccumulator
from frontend.api.generating import Identity, off_loop, usage_body
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.chat import MessageBody
from frontend.api.schema.inference import (
    COMPLETE,
    ERROR,
    TOKEN,
    InferenceComplete,
    InferenceRequest,
    InferenceToken,
    inference_error,
)
from frontend.api.sse import EVENT_STREAM, Framing, Stream, event_named, respond_streaming
from frontend.api.turns import AnyTurn, TurnEvent
from frontend.errors import BadRequest, ServerError
from frontend.http.exchange import exchange_of
from frontend.parsing.events import Content, Reasoning

_LINE_BREAK = re.compile(r"\r\n|\r|\n")  # that of server-sent events

_decoder = msgspec.json.Decoder(InferenceRequest)


class InferenceSse(ChatCompletions):
    @describes(
        "An answer as events of plain text, or with `events` as JSON",
        body=InferenceRequest,
        media=("text/event-stream",),
        errors=OF_ENGINES,
        example={"model": "smollm2", "prompt": "Say hello.", "max_tokens": 8},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        limit, extra = self._max_body_bytes, self._images.body_bytes()
        body, is_large = await read_json(request, limit, _decoder, extra, image_characters)
        as_chat(body)
        body.model = body.model or self._router.only_model()
        spec = await off_loop(body.is_constrained or is_large, turn_spec, body)
        identity = Identity.new("infer", body.model)
        request_id = exchange_of(request.scope).request_id
        if body.session_id is not None:
            response.set_header("X-Session-ID", body.session_id)

        async def begin() -> Stream[tuple[int, TurnEvent]]:
            turn = await self._begin(identity, body, spec, request)
            answer = (_TextEvents if body.events == "text" else _JsonEvents)(turn, identity, body, request_id)
            return Stream(turn, answer.encode, answer.ending, turn.close, finish=turn.finish)

        failing = text_error if body.events == "text" else partial(_json_error, request_id, body.session_id)
        await respond_streaming(request, response, begin(), Framing(EVENT_STREAM, failing))


def as_chat(body: InferenceRequest) -> None:
    """Put the prompt where a chat has it. Raises BadRequest."""
    if (body.prompt is None) == (not body.messages):
        raise BadRequest("send either prompt or messages", "prompt")
    if (body.n or 1) > 1:
        raise BadRequest("n: these events are of one answer", "n")
    if body.prompt is not None:
        body.messages = [MessageBody("user", body.prompt)]
    if body.repetition_penalty is None:
        body.repetition_penalty = body.repeat_penalty
    body.stream = True


class _TextEvents:
    """The answer's text alone, without reasoning."""

    def __init__(self, turn: AnyTurn, identity: Identity, body: InferenceRequest, request_id: str) -> None:
        pass

    def encode(self, events: list[tuple[int, TurnEvent]]) -> bytes:
        texts = [happened.text for _, happened in events if isinstance(happened, Content)]
        return b"".join(map(text_event, texts))

    def ending(self) -> bytes:
        return b""


def text_event(text: str) -> bytes:
    """A text with several lines takes several `data:` lines, which readers join again."""
    return b"".join(b"data: %b\n" % line.encode() for line in _LINE_BREAK.split(text)) + b"\n"


def text_error(error: ServerError) -> bytes:
    return text_event(f"ERROR: {error.message}")


class _JsonEvents:
    def __init__(self, turn: AnyTurn, identity: Identity, body: InferenceRequest, request_id: str) -> None:
        self._turn = turn
        self._identity = identity
        self._ids: dict[str, Any] = {"request_id": request_id, "session_id": body.session_id}
        self._answer = ChoiceAccumulator(turn, 0)

    def encode(self, events: list[tuple[int, TurnEvent]]) -> bytes:
        return b"".join([self._encoded(happened) for _, happened in events])

    def _encoded(self, happened: TurnEvent) -> bytes:
        self._answer.add(happened)
        match happened:
            case Content(text):
                return event_named(TOKEN, InferenceToken(token=text, **self._ids))
            case Reasoning(text):
                return event_named(TOKEN, InferenceToken(token="", reasoning=text, **self._ids))
        return b""

    def ending(self) -> bytes:
        usage = self._turn.usage
        body = InferenceComplete(
            message=self._answer.content,
            reasoning=self._answer.reasoning or UNSET,
            tool_calls=self._answer.calls or UNSET,
            model=self._identity.model,
            finish_reason=self._answer.finished.reason,
            usage=usage_body(usage, usage.reasoning_tokens),
            **self._ids,
        )
        return event_named(COMPLETE, body)


def _json_error(request_id: str, session_id: str | None, error: ServerError) -> bytes:
    return event_named(ERROR, inference_error(error, request_id, session_id))


def install(app: App, server: Server) -> None:
    sse = InferenceSse(server.router, server.memory.conversations, server.images, server.max_body_bytes)
    app.add_route("/v1/inference_sse", sse)
