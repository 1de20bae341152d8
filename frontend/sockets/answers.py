"""Translates the stream of a chat completion into the events of Socket.IO. Pure."""

from typing import Any

import msgspec
from msgspec import UNSET

from frontend.api.schema.common import UsageBody
from frontend.api.schema.inference import InferenceComplete, InferenceError, InferenceToken
from frontend.api.schema.tools import CalledFunction, ToolCallBody
from frontend.http.inside import Answer

_DONE = b"[DONE]"


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class _Call(msgspec.Struct):
    index: int = 0
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Error(msgspec.Struct):
    message: str = "the request failed"
    type: str = "server_error"
    code: str | int | None = None
    param: str | None = None


class _Chunk(msgspec.Struct):
    model: str = ""
    choices: list[_Choice] = []
    usage: UsageBody | None = None
    error: _Error | None = None


_chunk = msgspec.json.Decoder(_Chunk)


class AnswerReader:
    """Reads one answer's server-sent events."""

    def __init__(self, request_id: str, session_id: str | None) -> None:
        self._ids: dict[str, Any] = {"request_id": request_id, "session_id": session_id}
        self._held = b""  # an event that has not ended yet
        self._message: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCallBody] = []
        self._chunk = _Chunk()
        self._finish_reason: str | None = None
        self._usage: UsageBody | None = None
        self._is_done = False
        self._error: InferenceError | None = None

    def read(self, data: bytes) -> list[InferenceToken]:
        """Raises msgspec.DecodeError if the data is not a stream of a chat completion."""
        *events, self._held = (self._held + data).split(b"\n\n")
        tokens: list[InferenceToken] = []
        for event in events:
            if event.startswith(b"data: "):  # not a comment
                tokens += self._read_one(event.removeprefix(b"data: "))
        return tokens

    def _read_one(self, data: bytes) -> list[InferenceToken]:
        if data == _DONE:
            self._is_done = True
            return []
        chunk = self._chunk = _chunk.decode(data)
        self._usage = chunk.usage or self._usage
        if chunk.error is not None:
            self._error = failed(chunk.error, **self._ids)
        return [token for choice in chunk.choices if (token := self._token(choice)) is not None]

    def _token(self, choice: _Choice) -> InferenceToken | None:
        self._finish_reason = choice.finish_reason or self._finish_reason
        delta = choice.delta
        for call in delta.tool_calls or ():
            self._add(call)
        if not (delta.content or delta.reasoning_content):
            return None
        self._message.append(delta.content or "")
        self._reasoning.append(delta.reasoning_content or "")
        return InferenceToken(
            token=delta.content or "", reasoning=delta.reasoning_content or UNSET, **self._ids
        )

    def _add(self, call: _Call) -> None:
        while len(self._calls) <= call.index:
            self._calls.append(ToolCallBody("", CalledFunction("", "")))
        known = self._calls[call.index]
        known.id = known.id or call.id
        known.function.name = known.function.name or call.function.name
        known.function.arguments += call.function.arguments

    def end(self) -> InferenceComplete | InferenceError:
        """After the last byte."""
        if self._error is not None:
            return self._error
        if not self._is_done:
            return failed(_Error("the answer is incomplete", code="incomplete"), **self._ids)
        return InferenceComplete(
            message="".join(self._message),
            reasoning="".join(self._reasoning) or UNSET,
            tool_calls=self._calls or UNSET,
            model=self._chunk.model,
            finish_reason=self._finish_reason,
            usage=self._usage,
            **self._ids,
        )


def failed(error: _Error, request_id: str | None, session_id: str | None) -> InferenceError:
    return InferenceError(
        error=error.message,
        code=str(error.code or "error"),
        type=error.type,
        param=error.param,
        request_id=request_id,
        session_id=session_id,
    )


def refused(answer: Answer, request_id: str | None = None, session_id: str | None = None) -> InferenceError:
    """The event for an HTTP error."""
    try:
        error = msgspec.json.decode(answer.body, type=_Chunk).error or _Error()
    except ValueError:
        error = _Error()
    said = failed(error, request_id, session_id)
    said.status = answer.status
    seconds = (answer.header(b"retry-after") or b"").decode("latin-1")
    said.retry_after = int(seconds) if seconds.isdigit() else UNSET
    return said
