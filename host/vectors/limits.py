"""Checks on what clients ask for, shared by embeddings and rerank. All of them raise RequestRefused."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from host.engines.base import Body, RequestRefused, context_length_exceeded
from ipc.errors import ErrorCode
from ipc.messages.core import FLOAT_BYTES

T = TypeVar("T")

_SHORTEST_BOUND = 64 * 1024  # characters
_CHARACTERS_PER_TOKEN = 16  # more than any language needs


def refused(message: str, param: str) -> RequestRefused:
    return RequestRefused(ErrorCode.INVALID_VALUE, message, param)


def too_long(window: int, tokens: int, what: str, param: str) -> RequestRefused:
    return context_length_exceeded(window, f"{what} has {tokens} tokens", param)


def decoded(decode: Callable[[Body], T], body: Body, param: str) -> T:
    """A payload. The frontend encodes it, so only text that is not valid Unicode can be wrong with it."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused(f"{param} holds text that is not valid Unicode", param) from error


def tokens_to_keep(truncate: int | None, window: int, special_tokens: int) -> int | None:
    """The tokens that an input may have, special ones included; None if one beyond the window is an error."""
    if truncate is None:
        return None
    keep = window if truncate == -1 else truncate
    if not special_tokens < keep <= window:
        raise refused(
            f"truncate_prompt_tokens must be -1 or between {special_tokens + 1} and {window}",
            "truncate_prompt_tokens",
        )
    return keep


def bounded_text(text: str, window: int, cut: bool, param: str) -> str:
    """A text that is tokenized in less than a second; a longer one is cut or refused.

    No text that fits the window is that long, except for runs of blanks and of letters that form no word.
    """
    bound = max(_SHORTEST_BOUND, _CHARACTERS_PER_TOKEN * window)
    if len(text) <= bound:
        return text
    if not cut:
        asked = f"{param} has {len(text)} characters, of which at most {bound} are read"
        raise context_length_exceeded(window, asked, param)
    return text[:bound]


def check_result_size(rows: int, width: int, limit_bytes: int, param: str) -> None:
    """A result must fit into the result arena."""
    size = rows * width * FLOAT_BYTES
    if size > limit_bytes:
        raise refused(
            f"{param}: {rows} results of {width} numbers take {size} bytes, more than the {limit_bytes} that "
            "one request may have; send fewer at once",
            param,
        )
