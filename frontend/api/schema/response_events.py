"""The events of a streamed response, one Struct per type; the type is the tag."""

from typing import Any

import msgspec

from frontend.api.schema.response_items import OutputItem, OutputText, ReasoningText, SummaryText
from frontend.api.schema.responses import ResponseBody


class ResponseEvent(msgspec.Struct, kw_only=True, tag_field="type"):
    """The base."""

    sequence_number: int = 0  # counts the events of a response


class Lifecycle(ResponseEvent, kw_only=True):
    """The response has reached another state."""

    response: ResponseBody


class Created(Lifecycle, tag="response.created"): ...


class InProgress(Lifecycle, tag="response.in_progress"): ...


class Completed(Lifecycle, tag="response.completed"): ...


class Incomplete(Lifecycle, tag="response.incomplete"): ...


class Failed(Lifecycle, tag="response.failed"): ...


class Queued(Lifecycle, tag="response.queued"): ...


class ItemAdded(ResponseEvent, kw_only=True, tag="response.output_item.added"):
    output_index: int
    item: OutputItem


class ItemDone(ResponseEvent, kw_only=True, tag="response.output_item.done"):
    output_index: int
    item: OutputItem


class InItem(ResponseEvent, kw_only=True):
    """Something about one output item."""

    item_id: str
    output_index: int


class InPart(InItem, kw_only=True):
    """Something about one content part of an item; ours have one each."""

    content_index: int = 0


class PartAdded(InPart, kw_only=True, tag="response.content_part.added"):
    part: OutputText | ReasoningText


class PartDone(InPart, kw_only=True, tag="response.content_part.done"):
    part: OutputText | ReasoningText


class TextDelta(InPart, kw_only=True, tag="response.output_text.delta"):
    delta: str
    logprobs: list[Any] = []


class TextDone(InPart, kw_only=True, tag="response.output_text.done"):
    text: str
    logprobs: list[Any] = []


class ReasoningDelta(InPart, kw_only=True, tag="response.reasoning_text.delta"):
    delta: str


class ReasoningDone(InPart, kw_only=True, tag="response.reasoning_text.done"):
    text: str


class InSummary(InItem, kw_only=True):
    """Something about one part of a reasoning item's summary; ours have one each."""

    summary_index: int = 0


class SummaryPartAdded(InSummary, kw_only=True, tag="response.reasoning_summary_part.added"):
    part: SummaryText


class SummaryPartDone(InSummary, kw_only=True, tag="response.reasoning_summary_part.done"):
    part: SummaryText


class SummaryDelta(InSummary, kw_only=True, tag="response.reasoning_summary_text.delta"):
    delta: str


class SummaryDone(InSummary, kw_only=True, tag="response.reasoning_summary_text.done"):
    text: str


class ArgumentsDelta(InItem, kw_only=True, tag="response.function_call_arguments.delta"):
    delta: str


class ArgumentsDone(InItem, kw_only=True, tag="response.function_call_arguments.done"):
    arguments: str


class CustomInputDelta(InItem, kw_only=True, tag="response.custom_tool_call_input.delta"):
    delta: str


class CustomInputDone(InItem, kw_only=True, tag="response.custom_tool_call_input.done"):
    input: str
