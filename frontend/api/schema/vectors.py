"""What requests for embeddings and for scores have in common: how long inputs are cut."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from frontend.errors import BadRequest

TO_THE_WINDOW = -1  # keep as many tokens as the model takes


class TruncatingRequest(msgspec.Struct, kw_only=True):
    """Null means the endpoint's default."""

    truncate_prompt_tokens: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None  # vLLM's
    truncate: bool | Literal["NONE", "START", "END"] | None = None  # Jina's, and Cohere's
    truncation_side: Any = None

    def truncation(self, context_length: int, default: int | None) -> int | None:
        """Tokens to keep of a longer input; -1: as many as the model takes; None: a longer one is an error.

        Raises BadRequest.
        """
        if self.truncation_side not in (None, "right"):
            raise BadRequest("truncation_side: only the end of an input can be cut", "truncation_side")
        if self.truncate == "START":
            raise BadRequest("truncate: only the end of an input can be cut; use END", "truncate")
        if self.truncate_prompt_tokens is not None:
            return _tokens(self.truncate_prompt_tokens, context_length)
        if self.truncate is None:
            return default
        return TO_THE_WINDOW if self.truncate in (True, "END") else None


def _tokens(tokens: int, context_length: int) -> int:
    name = "truncate_prompt_tokens"
    if tokens == 0:
        raise BadRequest(f"{name} must be at least 1, or -1 for as many as the model takes", name)
    if tokens > context_length:
        raise BadRequest(f"{name} must be at most the model's context length, {context_length}", name)
    return tokens


class VectorUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int
