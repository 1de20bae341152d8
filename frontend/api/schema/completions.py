"""Bodies of POST /v1/completions."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.common import GenerationRequest, TokenId, UsageBody


class CompletionRequest(GenerationRequest, kw_only=True):
    # One prompt as text or token ids, or several of either; which, `prompts_of` tells apart.
    prompt: str | list[str | TokenId | list[TokenId]]

    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None  # 0: with `echo`, the prompt alone
    logprobs: Annotated[int, Meta(ge=0)] | None = None
    echo: bool | None = None
    add_special_tokens: bool | None = None


class TextLogprobs(msgspec.Struct):
    """By token. `tokens` together are the choice's text: the token that completes a character has all of it.

    `text_offset` counts characters from the beginning of that text. The engine reports the log probability of
    no other token, so `top_logprobs` holds that one alone. A prompt's first token has none.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    text_offset: list[int]
    top_logprobs: list[dict[str, float] | None]


class TextChoice(msgspec.Struct, kw_only=True):
    index: int
    text: str
    finish_reason: str | None = None
    logprobs: TextLogprobs | None = None
    stop_reason: str | int | None = None
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class Completion(msgspec.Struct, kw_only=True):
    """The whole answer, and each chunk of a streamed one."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    system_fingerprint: str | None  # None until the model is loaded
    choices: list[TextChoice]
    usage: UsageBody | UnsetType | None = UNSET
