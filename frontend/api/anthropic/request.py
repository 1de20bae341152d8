"""What a request of Anthropic's API asks for, as a turn. Pure."""

from typing import Any

import msgspec

from frontend.api.anthropic.blocks import image_characters
from frontend.api.anthropic.conversation import chat_messages, continues
from frontend.api.anthropic.thinking import effort_of, template_arguments_of
from frontend.api.anthropic.tools import tool_use_of
from frontend.api.prompting import TurnSpec
from frontend.api.schema.common import refuse_unsupported, variant_key
from frontend.api.schema.formats import json_format
from frontend.api.schema.messages import UNSUPPORTED, CountTokensRequest, MessagesRequest
from frontend.errors import BadRequest
from frontend.media.given import GivenImages
from ipc.messages import Sampling

# Tells Anthropic's package to send whole conversations. Its tool runner tries a thread first.
_NO_THREADS = "thread_unsupported_request"


def turn_of(body: CountTokensRequest) -> TurnSpec:
    """Raises BadRequest."""
    if body.thread is not None:
        error = BadRequest("thread is not supported by this server: send the whole conversation", "thread")
        error.code = _NO_THREADS
        raise error
    refuse_unsupported(body, UNSUPPORTED)
    given = GivenImages()
    messages = chat_messages(body, given)
    if not messages:
        raise BadRequest("messages: there is nothing to answer", "messages")
    goes_on = continues(messages)
    config = body.output_config
    return TurnSpec(
        model=body.model,
        variant_key=variant_key(body.metadata and body.metadata.user_id) or body.variant_key,
        messages=messages,
        samplings=[_sampling(body)],
        tool_use=tool_use_of(body.tools, body.tool_choice),
        output_format=_output_format(body),
        reasoning_effort=effort_of(body.thinking, config.effort if config is not None else None),
        template_arguments=template_arguments_of(body.thinking),
        add_generation_prompt=not goes_on,
        continue_final_message=goes_on,
        images=given.found,
        streaming=bool(body.stream),
    )


def only_fills_the_cache(body: MessagesRequest) -> bool:
    """Whether nothing is to be generated. Raises BadRequest."""
    if body.max_tokens > 0:
        return False
    if body.stream:
        raise BadRequest("stream: with max_tokens 0, there is nothing to stream", "stream")
    return True


def carried_characters(body: CountTokensRequest) -> int:
    return image_characters([message.content for message in body.messages])


def _sampling(body: CountTokensRequest) -> Sampling:
    # The engine generates at least one token.
    max_tokens = None if body.max_tokens is None else max(1, body.max_tokens)
    sampling = body.sampling(max_tokens, 0, logprobs=False)
    return msgspec.structs.replace(sampling, stop=[*sampling.stop, *(body.stop_sequences or ())])


def _output_format(body: CountTokensRequest) -> dict[str, Any] | None:
    form, where = body.older_format, "output_format"
    if body.output_config is not None and body.output_config.format is not None:
        form, where = body.output_config.format, "output_config.format"
    if form is None:
        return body.output_format
    return json_format(form.type, form.schema, f"{where}.type", f"{where}.schema")
