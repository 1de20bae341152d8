"""Bodies of POST /v1/completions."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.common import GenerationRequest, UsageBody

# Any 64-bit number; which of them are tokens, the host knows.
TokenId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class CompletionRequest(GenerationRequest, kw_only=True):
    # One prompt as text or token ids, or several of either; which, `prompts_of` tells apart.
    prompt: str | list[str | TokenId | list[TokenId]]

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


class Completion(msgspec.Struct, kw_only=True):
    """The whole answer, and each chunk of a streamed one."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: UsageBody | UnsetType | None = UNSET
