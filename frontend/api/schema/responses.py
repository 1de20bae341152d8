"""Bodies of the Responses API: requests and response objects."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.common import MOST_MESSAGES, GenerationRequest, TokenCount
from frontend.api.schema.common import UNSUPPORTED as UNSUPPORTED_GENERATION
from frontend.api.schema.response_items import CompactionItem, MessageItem, OutputItem
from frontend.api.schema.tools import MAX_TOOLS, ToolName

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
Label = Annotated[str, Meta(max_length=512)]
ResponseId = Annotated[str, Meta(min_length=1, max_length=200)]


class CustomFormat(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the input of a custom tool looks like."""

    type: str
    syntax: str | None = None  # lark or regex, of a grammar
    definition: str | None = None


class ToolBody(msgspec.Struct, kw_only=True):
    type: Annotated[str, Meta(max_length=64)]
    name: ToolName | None = None
    description: str | None = None
    parameters: dict[str, Any] | UnsetType | None = None  # of a function
    strict: bool | UnsetType | None = None  # of a function
    format: CustomFormat | UnsetType | None = UNSET  # of a custom tool
    tools: "Annotated[list[ToolBody], Meta(max_length=MAX_TOOLS)] | UnsetType | None" = (
        UNSET  # of a namespace
    )
    environment: dict[str, Any] | UnsetType | None = UNSET  # of a shell

    @property
    def shown(self) -> "ToolBody":
        """As a response repeats it: with the fields of its type."""
        if self.type == "function":
            return self
        inner = [tool.shown for tool in self.tools] if self.tools else self.tools
        absent = {name: UNSET for name in ("name", "description") if getattr(self, name) is None}
        return msgspec.structs.replace(self, parameters=UNSET, strict=UNSET, tools=inner, **absent)


class ToolChoiceBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] | None = None  # with `tools`: which may be called
    tools: "list[ToolChoiceBody] | None" = None


class TextFormat(msgspec.Struct, kw_only=True):
    type: str
    name: Annotated[str, Meta(max_length=64)] | None = None
    description: str | None = None
    schema: Any = None
    strict: bool | None = None


class TextBody(msgspec.Struct, kw_only=True):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None  # no model here knows it


class ReasoningBody(msgspec.Struct, kw_only=True):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None  # always the reasoning itself


class ResponsesRequest(GenerationRequest, kw_only=True):
    """What chat completions know beyond OpenAI's fields, such as top_k and seed, is understood here, too."""

    input: str | Annotated[list[Any], Meta(max_length=MOST_MESSAGES)] | None = None  # items, each by its type
    instructions: str | None = None
    max_output_tokens: TokenCount | None = None
    previous_response_id: ResponseId | None = None
    store: bool | None = None
    background: bool | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | ToolChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    text: TextBody | None = None
    reasoning: ReasoningBody | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    top_logprobs: Any = None
    metadata: Metadata | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    service_tier: Label | None = None

    conversation: Any = None
    prompt: Any = None
    context_management: Any = None

    @property
    def is_constrained(self) -> bool:
        return self.text is not None and self.text.format is not None


# Parameters we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    **UNSUPPORTED_GENERATION,
    "top_logprobs": (0,),
    "conversation": (),
    "prompt": (),
    "context_management": ([],),
    "n": (1,),
    "return_token_ids": (False,),
    "structured_outputs": (),
}
# Parameters of chat completions → what they are called here.
ELSEWHERE = {
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
}
# What `include` may ask for without asking for anything that this server could leave out.
INCLUDABLE = (
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class InputTokensDetails(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(msgspec.Struct):
    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt", "context_length_exceeded"]
    message: str


class IncompleteDetails(msgspec.Struct):
    reason: Literal["max_output_tokens"]


class TextFormatAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    type: str
    name: str | None = None
    description: str | None = None
    schema: Any = None
    strict: bool | None = None


class TextAnswer(msgspec.Struct):
    format: TextFormatAnswer
    verbosity: str = "medium"


class ResponseBody(msgspec.Struct, kw_only=True, frozen=True):
    """A response object."""

    id: str
    object: str = "response"
    created_at: int  # Unix seconds
    completed_at: int | None = None
    status: Status
    background: bool
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: ReasoningBody
    safety_identifier: str | None
    service_tier: str = "default"
    store: bool
    temperature: float | None
    text: TextAnswer
    tool_choice: str | ToolChoiceBody
    tools: list[ToolBody]
    top_logprobs: int = 0
    top_p: float | None
    truncation: str
    usage: ResponseUsage | None = None
    user: str | None
    metadata: dict[str, str]


class Deleted(msgspec.Struct):
    id: str
    object: str = "response"
    deleted: bool = True


class InputTokens(msgspec.Struct):
    input_tokens: int
    object: str = "response.input_tokens"


class CompactedBody(msgspec.Struct, kw_only=True):
    """A conversation in short: what the user said, and a summary."""

    id: str
    object: str = "response.compaction"
    created_at: int  # Unix seconds
    output: list[MessageItem | CompactionItem]
    usage: ResponseUsage
