"""POST /v1/chat/completions."""

from functools import partial

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.chat_answer import ChatChunks, completion, heartbeat
from frontend.api.errors import renaming_params
from frontend.api.generating import Identity, off_loop, respond_json
from frontend.api.images import Images
from frontend.api.kept_turn import begin_kept_turn
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import TurnSpec
from frontend.api.schema.chat import (
    UNSUPPORTED,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    MessageBody,
    PartBody,
)
from frontend.api.schema.common import check_stream_options, check_top_logprobs, refuse_unsupported
from frontend.api.schema.tools import parse_tool_choice
from frontend.api.served import model_of
from frontend.api.sse import Stream, respond_streaming
from frontend.api.turns import AnyTurn, TurnEvent, begin_turn
from frontend.errors import BadRequest
from frontend.media.data_url import data_characters
from frontend.media.given import GivenImages, joined_text
from frontend.routing.router import Router
from frontend.sessions.conversations import Conversations
from ipc.messages import ChatMessage, ContentPart, MediaPart, TextPart, ToolCall

# What hosts call the parameters → what OpenAI calls them now.
_PARAMS = {"max_tokens": "max_completion_tokens"}

_decoder = msgspec.json.Decoder(ChatRequest)


class ChatCompletions:
    def __init__(
        self, router: Router, conversations: Conversations, images: Images, max_body_bytes: int
    ) -> None:
        self._router = router
        self._conversations = conversations
        self._images = images
        self._max_body_bytes = max_body_bytes

    @describes(
        "A chat completion",
        body=ChatRequest,
        answer=ChatCompletion,
        events=ChatChunk,
        errors=OF_ENGINES,
        example={
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 4,
        },
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        limit = self._max_body_bytes
        extra = self._images.body_bytes()
        body, is_large = await read_json(request, limit, _decoder, extra, image_characters)
        spec = await off_loop(body.is_constrained or is_large, turn_spec, body)
        identity = Identity.new("chatcmpl", body.model)
        if body.stream:
            begin = self._stream(identity, body, spec, request)
            await respond_streaming(request, response, begin, heartbeat=partial(heartbeat, identity, body))
        else:
            turn = await self._begin(identity, body, spec, request)
            respond_json(response, await completion(identity, turn, body))

    async def _stream(
        self, identity: Identity, body: ChatRequest, spec: TurnSpec, request: falcon.asgi.Request
    ) -> Stream[tuple[int, TurnEvent]]:
        turn = await self._begin(identity, body, spec, request)
        chunks = ChatChunks(identity, turn, body)
        return Stream(turn, chunks.encode, chunks.ending, turn.close, chunks.opening, turn.finish)

    async def _begin(
        self, identity: Identity, body: ChatRequest, spec: TurnSpec, request: falcon.asgi.Request
    ) -> AnyTurn:
        key = body.variant_key or body.session_id
        model = await model_of(self._router, body.model, request, key)
        await self._images.fill(spec, request)
        body.messages.clear()  # data URLs are large
        identity.answered_by(model)
        with renaming_params({} if body.max_completion_tokens is None else _PARAMS):
            if body.session_id is None:
                return await begin_turn(model, spec, request)
            return await begin_kept_turn(model, spec, request, self._conversations, body.session_id)


def turn_spec(body: ChatRequest) -> TurnSpec:
    """Raises BadRequest."""
    refuse_unsupported(body, UNSUPPORTED)
    check_stream_options(body)
    check_top_logprobs("top_logprobs", body.top_logprobs, most=0)
    if body.continue_final_message and body.add_generation_prompt:
        raise BadRequest(
            "add_generation_prompt and continue_final_message exclude each other", "continue_final_message"
        )
    if body.session_id is not None and (body.n or 1) > 1:
        raise BadRequest("n: a conversation goes on with one answer", "n")
    max_tokens = body.max_completion_tokens or body.max_tokens
    given = GivenImages()
    return TurnSpec(
        model=body.model,
        messages=[chat_message(message, index, given) for index, message in enumerate(body.messages)],
        samplings=[body.sampling(max_tokens, choice, bool(body.logprobs)) for choice in range(body.n or 1)],
        tool_use=parse_tool_choice(body.tools, body.tool_choice, body.parallel_tool_calls),
        output_format=body.output_format,
        reasoning_effort=body.reasoning_effort,
        template_arguments=body.chat_template_kwargs or {},
        add_generation_prompt=body.add_generation_prompt is not False and not body.continue_final_message,
        continue_final_message=bool(body.continue_final_message),
        images=given.found,
        streaming=bool(body.stream),
        report_ids=bool(body.return_token_ids),
    )


def chat_message(message: MessageBody, index: int, given: GivenImages) -> ChatMessage:
    """The message with parts for its images, which are added to `given`.

    Raises BadRequest naming the part of `messages[index]` that cannot be honoured.
    """
    where = f"messages[{index}]"
    if message.content is None and not _may_lack_content(message):
        raise BadRequest(f"{where}.content is missing", f"{where}.content")
    if message.tool_calls and message.role != "assistant":
        raise BadRequest(f"{where}.tool_calls: only an assistant calls tools", f"{where}.tool_calls")
    if message.role == "tool" and message.tool_call_id is None:
        raise BadRequest(f"{where}.tool_call_id is missing", f"{where}.tool_call_id")
    return ChatMessage(
        # Templates know "system"; "developer" is OpenAI's newer name for it.
        "system" if message.role == "developer" else message.role,
        _content(message, where, given),
        message.name,
        [ToolCall(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or []],
        message.tool_call_id,
        message.reasoning_content or message.reasoning,
    )


def _may_lack_content(message: MessageBody) -> bool:
    """An assistant may only have called tools, reasoned until its limit, or refused."""
    said = (message.tool_calls, message.reasoning_content, message.reasoning, message.refusal)
    return message.role == "assistant" and any(said)


def _content(message: MessageBody, where: str, given: GivenImages) -> str | list[ContentPart] | None:
    """Text parts alone are joined; with images among them, all keep their order."""
    if message.content is None:
        return message.refusal
    if isinstance(message.content, str):
        return message.content
    parts: list[ContentPart] = []
    for position, part in enumerate(message.content):
        place = f"{where}.content[{position}]"
        if part.type == "image_url" and message.role != "assistant":
            parts.append(_image(part, place, given))
        else:
            parts.append(TextPart(_text(part, place)))
    return joined_text(parts)


def _text(part: PartBody, where: str) -> str:
    if part.type not in ("text", "refusal"):
        raise BadRequest(f"{where}.type: {part.type!r} is not supported here", f"{where}.type")
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise BadRequest(f"{where}.{part.type} is missing", f"{where}.{part.type}")
    return text


def _image(part: PartBody, where: str, given: GivenImages) -> MediaPart:
    field = f"{where}.image_url"
    match part.image_url:
        case None:
            raise BadRequest(f"{field} is missing", field)
        case str(url):
            return given.part(url, None, where, field)
        case image:
            return given.part(image.url, image.detail, where, f"{field}.url")


def image_characters(body: ChatRequest) -> int:
    """How much of a body is images in data URLs."""
    parts = (
        part for message in body.messages if isinstance(message.content, list) for part in message.content
    )
    urls = (part.image_url for part in parts if part.image_url is not None)
    return sum(data_characters(url if isinstance(url, str) else url.url) for url in urls)


def install(app: App, server: Server) -> None:
    chat = ChatCompletions(server.router, server.memory.conversations, server.images, server.max_body_bytes)
    app.add_route("/v1/chat/completions", chat)
