"""POST /v1/chat/completions."""

from functools import partial

import falcon.asgi
import msgspec
from msgspec import UNSET

from frontend.api.body import decode, read_body
from frontend.api.generating import Collected, Identity, respond_streaming, respond_whole, start, usage_body
from frontend.api.schema.chat import (
    UNSUPPORTED,
    AssistantMessage,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    DeltaBody,
    MessageBody,
)
from frontend.api.schema.common import check_stream_options, refuse_unsupported
from frontend.api.sse import ChunkFormat, around_text, event
from frontend.errors import BadRequest
from frontend.routing.generation import SequenceSpec, Usage
from frontend.routing.router import Router
from ipc.messages import ChatMessage, ChatPrompt

_decoder = msgspec.json.Decoder(ChatRequest)


class ChatCompletions:
    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body = decode(await read_body(request, self._max_body_bytes), _decoder)
        refuse_unsupported(body, UNSUPPORTED)
        check_stream_options(body)
        generation = await start(request, self._router, body, specs_of(body))
        identity = Identity.new("chatcmpl", body.model)
        if body.stream:
            form = _chunk_format(identity, body.n or 1, body.include_usage)
            respond_streaming(response, generation, form)
        else:
            await respond_whole(response, generation, partial(_completion, identity))


def specs_of(body: ChatRequest) -> list[SequenceSpec]:
    """One sequence per choice."""
    prompt = ChatPrompt([_message(message, index) for index, message in enumerate(body.messages)])
    max_tokens = body.max_completion_tokens or body.max_tokens
    return [SequenceSpec(prompt, body.sampling(max_tokens, choice)) for choice in range(body.n or 1)]


def _message(message: MessageBody, index: int) -> ChatMessage:
    # Templates know "system"; "developer" is OpenAI's newer name for it.
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str):
        return ChatMessage(role, message.content, message.name)
    texts: list[str] = []
    for position, part in enumerate(message.content):
        where = f"messages[{index}].content[{position}]"
        if part.type != "text":
            raise BadRequest(f"{where}.type: {part.type!r} is not supported", f"{where}.type")
        if part.text is None:
            raise BadRequest(f"{where}.text is missing", f"{where}.text")
        texts.append(part.text)
    return ChatMessage(role, "\n".join(texts), message.name)


def _completion(identity: Identity, choices: list[Collected], usage: Usage) -> ChatCompletion:
    bodies = [Choice(i, AssistantMessage(content=c.text), c.finish_reason) for i, c in enumerate(choices)]
    return ChatCompletion(**identity.fields, choices=bodies, usage=usage_body(usage))


def _chunk_format(identity: Identity, choices: int, include_usage: bool) -> ChunkFormat:
    no_usage = None if include_usage else UNSET

    def chunk(choice: int, delta: DeltaBody, finish_reason: str | None = None) -> ChatChunk:
        body = ChunkChoice(choice, delta, finish_reason)
        return ChatChunk(**identity.fields, choices=[body], usage=no_usage)

    return ChunkFormat(
        opening=b"".join(event(chunk(i, DeltaBody(role="assistant", content=""))) for i in range(choices)),
        text=[around_text(lambda text, i=i: chunk(i, DeltaBody(content=text))) for i in range(choices)],  # type: ignore[misc]
        finish=lambda i, reason: event(chunk(i, DeltaBody(), reason)),
        usage=lambda usage: event(ChatChunk(**identity.fields, choices=[], usage=usage_body(usage))),
        include_usage=include_usage,
    )
