"""The tokens that answers report, under the names of any of the APIs."""

from typing import TypeVar

import msgspec

Reporting = TypeVar("Reporting", bound="_WithUsage")


class TokenUsage(msgspec.Struct, frozen=True):
    """Tokens of one answer, or of several together."""

    input_tokens: int = 0
    cached_tokens: int = 0  # of the input
    output_tokens: int = 0
    reasoning_tokens: int = 0  # of the output

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class _Details(msgspec.Struct):
    cached_tokens: int | None = 0
    reasoning_tokens: int | None = 0


class _Usage(msgspec.Struct):
    """With the names that any of the APIs uses."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    total_tokens: int | None = 0
    cache_read_input_tokens: int | None = 0  # not included in `input_tokens`; nor is the next
    cache_creation_input_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _WithUsage(msgspec.Struct):
    usage: _Usage | None = None


class _Event(_WithUsage):
    response: _WithUsage | None = None  # of Responses
    message: _WithUsage | None = None  # of Messages


def usage_of(body: bytes) -> TokenUsage | None:
    """The tokens that an answer reports; None where it reports none."""
    found = _decoded(body, _WithUsage)
    return None if found is None or found.usage is None else _counted(found.usage)


def usage_of_event(data: bytes) -> TokenUsage | None:
    """The same of an event of a stream."""
    found = _decoded(data, _Event)
    if found is None:
        return None
    inner = found.response or found.message or found
    usage = found.usage or inner.usage
    return None if usage is None else _counted(usage)


def _decoded(data: bytes, kind: type[Reporting]) -> Reporting | None:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):
        return None


def _counted(usage: _Usage) -> TokenUsage:
    of_input = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
    of_output = usage.completion_tokens_details or usage.output_tokens_details or _Details()
    cached = usage.cache_read_input_tokens or 0
    beside = cached + (usage.cache_creation_input_tokens or 0)
    output = usage.completion_tokens or usage.output_tokens or 0
    return TokenUsage(
        usage.prompt_tokens
        or (usage.input_tokens or 0) + beside
        or max(0, (usage.total_tokens or 0) - output),
        of_input.cached_tokens or cached,
        output,
        of_output.reasoning_tokens or 0,
    )
