"""Bodies of POST /v1/completions."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from frontend.api.schema.common import GenerationRequest, UsageBody


class CompletionRequest(GenerationRequest, kw_only=True):
    # One prompt as text or token ids, or several of either; which, `prompts_of` tells apart.
    prompt: str | list[str | int | list[int]]

    logprobs: Any = None
    echo: Any = None
    suffix: Any = None
    best_of: Any = None
    logit_bias: Any = None


# Parameters we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "logprobs": (),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "logit_bias": ({},),
}


class TextChoice(msgspec.Struct):
    index: int
    text: str
    finish_reason: str | None = None
    logprobs: None = None


class Completion(msgspec.Struct):
    """The whole answer, and each chunk of a streamed one."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    object: str = "text_completion"
    usage: UsageBody | UnsetType | None = UNSET
