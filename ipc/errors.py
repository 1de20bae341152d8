"""Error codes that cross from a host to the frontend, and the struct that carries one."""

from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """Why a host refused or gave up one request. The frontend maps every code to an HTTP status."""

    INVALID_VALUE = "invalid_value"  # a parameter the engine cannot honour; `param` names it
    CONTEXT_LENGTH_EXCEEDED = (
        "context_length_exceeded"  # prompt + max_tokens is longer than the model's context
    )
    KV_CACHE_EXCEEDED = "kv_cache_exceeded"  # fits the context but never this host's KV cache
    CHAT_TEMPLATE_FAILED = "chat_template_failed"  # the template is missing or rejects these messages
    ENGINE_FAILED = "engine_failed"  # the engine raised on this request; the host lives on


class RequestError(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request's typed failure. `message` is for the client and holds no path and no prompt text."""

    code: ErrorCode
    message: str
    param: str | None = None
    # Of a prompt that is too long: its tokens, at least, and the limit; None where that is not known.
    sizes: tuple[int, int] | None = None
