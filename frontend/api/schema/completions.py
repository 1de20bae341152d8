"""Bodies of POST /v1/completions."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.common import GenerationRequest, TokenId, UsageBody


class CompletionRequest(GenerationRequest, kw_only=True):
    # One prompt as text or token ids, or several of either; which, `prompts_of` tells apart.
    prompt: str | list[str | TokenId | list[TokenId]]

    logprobs: Annotated[int, Meta(ge=0)] | None = None
    echo: bool | None = None
    add_special_tokens: bool | None = None


class TextLogprobs(msgspec.Struct):
    """By token. `text_offset` counts characters from the beginning of the choice's text."""

    tokens: list[str]
    token_logprobs: list[float]
    text_offset: list[int]
    top_logprobs: None = None


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
