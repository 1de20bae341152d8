"""Bodies of POST /v1/messages and /v1/messages/count_tokens. Fields such as cache_control are ignored."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from frontend.api.schema.common import MAX_STOP_STRINGS, MOST_MESSAGES, GenerationRequest, StopString
from frontend.api.schema.common import UNSUPPORTED as UNSUPPORTED_EVERYWHERE
from frontend.api.schema.tools import MAX_TOOLS, ToolName


class SourceBody(msgspec.Struct):
    """Where an image or a document is."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: "str | list[BlockBody] | None" = None


class BlockBody(msgspec.Struct):
    """A content block of any type."""

    type: str
    text: str | None = None
    source: SourceBody | str | None = None  # a string is that of a search result
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | str | None = None  # text: as a call that could not be read is kept
    tool_use_id: str | None = None
    content: "str | list[BlockBody] | dict[str, Any] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    title: str | None = None
    context: str | None = None
    url: str | None = None
    tool_name: str | None = None


class MessageBody(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[BlockBody]
    clear_at: str | None = None  # of a system message


class ToolBody(msgspec.Struct):
    type: str | None = None
    name: ToolName | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoiceBody(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingBody(msgspec.Struct):
    type: str
    display: str | None = None


class FormatBody(msgspec.Struct):
    type: str
    schema: Any = None


class OutputConfigBody(msgspec.Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: FormatBody | None = None


class MetadataBody(msgspec.Struct):
    user_id: Any = None


class CountTokensRequest(GenerationRequest, kw_only=True):
    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=MOST_MESSAGES)]
    system: str | list[BlockBody] | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceBody | None = None
    thinking: ThinkingBody | None = None
    output_config: OutputConfigBody | None = None
    # The older place of output_config.format.
    older_format: FormatBody | None = msgspec.field(default=None, name="output_format")
    stop_sequences: Annotated[list[StopString], Meta(max_length=MAX_STOP_STRINGS)] | None = None
    metadata: MetadataBody | None = None

    mcp_servers: Any = None
    container: Any = None
    thread: Any = None

    @property
    def has_schemas(self) -> bool:
        """Whether there is a schema to check, which may take long."""
        given = (self.tools, self.output_config, self.older_format)
        return self.is_constrained or any(part is not None for part in given)


class MessagesRequest(CountTokensRequest, kw_only=True):
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)]  # 0: only the prompt is computed


# Parameters we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    **UNSUPPORTED_EVERYWHERE,
    "n": (1,),
    "return_token_ids": (False,),
    "mcp_servers": ([],),
    "container": (),
}


# --- answers ------------------------------------------------------------------------------------------


class OutputTokensDetails(msgspec.Struct):
    thinking_tokens: int


class UsageBody(msgspec.Struct, kw_only=True):
    """`input_tokens` are those of the prompt that were not found in the KV cache."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int
    output_tokens_details: OutputTokensDetails


class TextBlock(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw  # a JSON object


Block = TextBlock | ThinkingBlock | ToolUseBlock


class MessageAnswer(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    id: str
    role: str = "assistant"
    model: str
    content: list[Block]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: UsageBody


class TokensCount(msgspec.Struct):
    input_tokens: int


# --- events of a stream -------------------------------------------------------------------------------


class TextDelta(msgspec.Struct, tag_field="type", tag="text_delta"):
    text: str


class ThinkingDelta(msgspec.Struct, tag_field="type", tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, tag_field="type", tag="signature_delta"):
    signature: str


class InputJsonDelta(msgspec.Struct, tag_field="type", tag="input_json_delta"):
    partial_json: str


Delta = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    message: MessageAnswer


class BlockStart(msgspec.Struct, tag_field="type", tag="content_block_start"):
    index: int
    content_block: Block


class BlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta"):
    index: int
    delta: Delta


class BlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop"):
    index: int


class StopBody(msgspec.Struct):
    stop_reason: str
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, tag_field="type", tag="message_delta"):
    delta: StopBody
    usage: UsageBody


class MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    pass
