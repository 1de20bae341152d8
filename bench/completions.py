"""Encodes requests to OpenAI servers, and reads answers: when text arrived, how many tokens, how it ended."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from bench.client import Response
from bench.errors import BadAnswer
from bench.stats import RequestRecord, TokenSource
from bench.workload import Prompt

Endpoint = Literal["chat", "completions"]

PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "completions": "/completions"}


class _Text(msgspec.Struct, gc=False):
    """A chat delta or message. Reasoning counts as text, since it is generated in the same way."""

    content: str | None = None
    reasoning_content: str | None = None


class Said(msgspec.Struct, frozen=True):
    """An answer's content, for comparison with that of another answer."""

    text: str
    tokens: int | None
    finish_reason: str | None


class _Choice(msgspec.Struct, gc=False):
    delta: _Text | None = None
    message: _Text | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        part = self.delta or self.message or _Text()
        return self.text or (part.reasoning_content or "") + (part.content or "")


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Chunk)


def request_body(
    model: str,
    endpoint: Endpoint,
    prompt: Prompt,
    max_tokens: int,
    *,
    stream: bool,
    ignore_eos: bool,
    images: Sequence[str] = (),
) -> bytes:
    """A greedy completion request, encoded. Token-id prompts need the completions endpoint, and images (as
    URLs) the chat endpoint."""
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": 0}
    if endpoint == "chat":
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
        content = [*parts, {"type": "text", "text": prompt}] if parts else prompt
        body["messages"] = [{"role": "user", "content": content}]
    else:
        body["prompt"] = prompt
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if ignore_eos:
        body["ignore_eos"] = True
    return msgspec.json.encode(body)


def read_response(response: Response) -> RequestRecord:
    """The record of one answered request. Raises BadAnswer."""
    if not response.events:
        return _record(response, [_decode(response.body)], [])
    *chunks, last = response.events
    decoded = [_decode(event.data) for event in chunks]
    if last.data != b"[DONE]":
        _decode(last.data)
        raise BadAnswer("truncated_stream", "the stream ended without [DONE]")
    arrivals = [
        event.time
        for event, chunk in zip(chunks, decoded, strict=True)
        if any(choice.said for choice in chunk.choices)
    ]
    return _record(response, decoded, arrivals)


def read_text(response: Response) -> Said:
    """The complete text of an answer with one choice, streamed or not. Raises BadAnswer."""
    record = read_response(response)
    bodies = [event.data for event in response.events[:-1]] or [response.body]
    texts = [choice.said for body in bodies for choice in _decode(body).choices]
    return Said("".join(texts), record.output_tokens, record.finish_reason)


def _decode(data: bytes) -> _Chunk:
    try:
        chunk = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise BadAnswer("malformed_answer", f"{error}: {data[:200]!r}") from None
    if chunk.error is not None:
        raise BadAnswer("stream_error", msgspec.json.encode(chunk.error).decode())
    return chunk


def _record(response: Response, chunks: list[_Chunk], arrivals: list[float]) -> RequestRecord:
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage is not None), _Usage())
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    source: TokenSource = "events" if usage.completion_tokens is None else "usage"
    return RequestRecord(
        started=response.started,
        finished=response.finished,
        arrivals=arrivals,
        prompt_tokens=usage.prompt_tokens,
        output_tokens=len(arrivals) if usage.completion_tokens is None else usage.completion_tokens,
        counted_from=source,
        finish_reason=reasons[-1] if reasons else None,
    )
