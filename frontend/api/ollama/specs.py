"""From requests of chat and generate to what a turn is asked for. Pure."""

from typing import Any

import msgspec

from frontend.api.ollama.messages import chat_messages, content_of
from frontend.api.ollama.options import NO_OPTIONS, sampling_of
from frontend.api.ollama.requests import ChatRequest, GenerateRequest, GenerationRequest, refuse_unsupported
from frontend.api.ollama.thinking import check_think, effort_of, template_arguments_of
from frontend.api.prompting import TurnSpec
from frontend.api.schema.common import check_top_logprobs
from frontend.api.schema.formats import constraint_at
from frontend.api.schema.tools import parse_tool_choice
from frontend.errors import BadRequest
from frontend.media.given import GivenImages
from frontend.structured import Format, json_object, json_schema
from ipc.messages import ChatMessage, Sampling


def turn_of_chat(body: ChatRequest) -> TurnSpec:
    """An assistant's last message is continued, as Ollama's templates do. Raises BadRequest."""
    given = GivenImages()
    messages = chat_messages(body.messages or [], given)
    last = messages[-1]
    continues = last.role == "assistant" and not last.tool_calls and bool(last.content)
    return msgspec.structs.replace(
        _turn(body, messages, given),
        tool_use=parse_tool_choice(body.tools, None, None),
        add_generation_prompt=not continues,
        continue_final_message=continues,
    )


def turn_of_generate(body: GenerateRequest) -> TurnSpec:
    """The prompt as a user's message. Raises BadRequest."""
    refuse_unsupported(body)
    if body.raw and (body.system or body.images):
        field = "system" if body.system else "images"
        raise BadRequest(f"{field}: with raw, the prompt is sent as it is", field)
    given = GivenImages()
    messages = [ChatMessage("system", body.system)] if body.system else []
    messages.append(ChatMessage("user", content_of(body.prompt or "", body.images, "images", given)))
    return _turn(body, messages, given)


def _turn(body: GenerationRequest, messages: list[ChatMessage], given: GivenImages) -> TurnSpec:
    check_think(body.think)
    check_top_logprobs("top_logprobs", body.top_logprobs, most=0)
    return TurnSpec(
        model=body.wanted,
        messages=messages,
        samplings=[_sampling(body)],
        output_format=output_format_of(body.format),
        reasoning_effort=effort_of(body.think),
        template_arguments=template_arguments_of(body.think),
        images=given.found,
        streaming=body.streamed,
    )


def _sampling(body: GenerationRequest) -> Sampling:
    return sampling_of(body.options or NO_OPTIONS, bool(body.logprobs))


def output_format_of(asked: Any) -> Format | None:
    """Of "json" or a JSON schema; None for a text. Raises BadRequest."""
    if asked in (None, ""):
        return None
    if asked == "json":
        return json_object()
    if not isinstance(asked, dict):
        raise BadRequest('format: must be "json" or a JSON schema', "format")
    with constraint_at("format"):
        return json_schema(asked)
