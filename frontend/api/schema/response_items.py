"""The items of the Responses API: what a conversation consists of."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Role = Literal["user", "assistant", "system", "developer"]
Detail = Literal["auto", "low", "high", "original"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


# --- as clients send them: any of the types in one Struct each, so that errors can name the field -----------


class PartBody(msgspec.Struct, kw_only=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    detail: Detail | None = None


class ItemBody(msgspec.Struct, kw_only=True):
    type: str | None = None  # a message, where there is none
    id: str | None = None
    role: Role | None = None
    content: str | list[PartBody] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    encrypted_content: str | None = None
    output: str | list[PartBody] | None = None
    summary: list[PartBody] | None = None


# --- as they are stored and answered ------------------------------------------------------------------------


class InputText(msgspec.Struct, tag_field="type", tag="input_text"):
    text: str


class InputImage(msgspec.Struct, kw_only=True, tag_field="type", tag="input_image"):
    image_url: str  # as the client sent it
    detail: Detail = "auto"
    file_id: None = None


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    text: str
    annotations: list[Any] = []
    logprobs: list[Any] = []


class ReasoningText(msgspec.Struct, tag_field="type", tag="reasoning_text"):
    text: str


class SummaryText(msgspec.Struct, tag_field="type", tag="summary_text"):
    text: str


class MessageItem(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    id: str
    role: Role
    status: ItemStatus = "completed"
    content: list[InputText | InputImage | OutputText]  # output text in an assistant's, input in all others


class FunctionCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str
    namespace: str | UnsetType = UNSET
    status: ItemStatus = "completed"


class FunctionOutputItem(msgspec.Struct, kw_only=True, tag_field="type", tag="function_call_output"):
    id: str
    call_id: str
    output: str | list[InputText | InputImage]
    status: ItemStatus = "completed"


class CustomCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="custom_tool_call"):
    id: str
    call_id: str
    name: str
    input: str
    namespace: str | UnsetType = UNSET


class CustomOutputItem(msgspec.Struct, kw_only=True, tag_field="type", tag="custom_tool_call_output"):
    id: str
    call_id: str
    output: str | list[InputText | InputImage]


class ExecAction(msgspec.Struct, kw_only=True):
    type: Literal["exec"] = "exec"
    command: Annotated[list[str], Meta(min_length=1)]
    env: dict[str, str] = {}
    working_directory: str | None = None
    timeout_ms: int | None = None
    user: str | None = None


class LocalShellCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="local_shell_call"):
    id: str
    call_id: str
    action: ExecAction
    status: ItemStatus = "completed"


class ShellAction(msgspec.Struct, kw_only=True):
    commands: Annotated[list[str], Meta(min_length=1)]
    timeout_ms: int | None = None
    max_output_length: int | None = None


class ShellCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="shell_call"):
    id: str
    call_id: str
    action: ShellAction
    status: ItemStatus = "completed"


class PatchOperation(msgspec.Struct, kw_only=True):
    type: Literal["create_file", "update_file", "delete_file"]
    path: str
    diff: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.type != "delete_file" and self.diff is UNSET:
            raise ValueError("diff is missing")


class ApplyPatchCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="apply_patch_call"):
    id: str
    call_id: str
    operation: PatchOperation
    status: ItemStatus = "completed"


class ReasoningItem(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning"):
    id: str
    summary: list[SummaryText] = []
    content: list[ReasoningText]
    encrypted_content: None = None
    status: ItemStatus = "completed"


class CompactionItem(msgspec.Struct, kw_only=True, tag_field="type", tag="compaction"):
    """What stands for the conversation before it."""

    id: str
    encrypted_content: str  # of ours, a summary that can be read


class ForeignItem(msgspec.Struct, kw_only=True, tag_field="type", tag="nacelle.foreign"):
    """An item of a type that only other servers make, as the client sent it."""

    id: str
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body.get("type"))


ClientCallItem = LocalShellCallItem | ShellCallItem | ApplyPatchCallItem
OutputItem = MessageItem | FunctionCallItem | CustomCallItem | ClientCallItem | ReasoningItem | CompactionItem
CallItem = FunctionCallItem | CustomCallItem
OutcomeItem = FunctionOutputItem | CustomOutputItem
Item = OutputItem | OutcomeItem | ForeignItem


class ItemList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[Any]  # of Item, but foreign ones as clients sent them, which no union of msgspec could say
    first_id: str | None
    last_id: str | None
    has_more: bool
