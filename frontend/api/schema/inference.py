"""Bodies of POST /v1/inference_sse and of its events, which Socket.IO has as well."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.chat import ChatRequest, MessageBody
from frontend.api.schema.common import MOST_MESSAGES, UsageBody
from frontend.api.schema.tools import ToolCallBody
from frontend.errors import ServerError

TOKEN = "inference_token"  # noqa: S105 - the names of events
COMPLETE = "inference_complete"
ERROR = "inference_error"


class InferenceRequest(ChatRequest, kw_only=True):
    """A chat request, whose one question may be given as a `prompt`."""

    prompt: Annotated[str, Meta(min_length=1)] | None = None
    messages: Annotated[list[MessageBody], Meta(max_length=MOST_MESSAGES)] = msgspec.field(
        default_factory=list
    )
    model: Annotated[str, Meta(max_length=500)] = ""  # the only one that is served
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None  # Ollama's name of repetition_penalty
    events: Literal["text", "json"] = "text"


class InferenceToken(msgspec.Struct, kw_only=True):
    token: str
    reasoning: str | UnsetType = UNSET  # with an empty token
    request_id: str
    session_id: str | None = None


class InferenceComplete(msgspec.Struct, kw_only=True):
    message: str
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallBody] | UnsetType = UNSET
    request_id: str
    session_id: str | None = None
    model: str
    finish_reason: str | None
    usage: UsageBody | None = None


class InferenceError(msgspec.Struct, kw_only=True):
    error: str
    code: str
    type: str
    param: str | None = None
    status: int | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET  # seconds
    request_id: str | None = None
    session_id: str | None = None


def inference_error(error: ServerError, request_id: str | None, session_id: str | None) -> InferenceError:
    return InferenceError(
        error=error.message,
        code=error.code,
        type=error.type,
        param=error.param,
        status=error.status,
        retry_after=UNSET if error.retry_after is None else error.retry_after,
        request_id=request_id,
        session_id=session_id,
    )
