"""Bodies of POST /v1/embeddings."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from frontend.api.schema.common import ModelName, TokenId
from frontend.api.schema.vectors import TruncatingRequest, VectorUsage

MAX_INPUTS = 2048  # OpenAI's

Encoding = Literal["float", "base64"]
PromptName = Annotated[str, Meta(min_length=1, max_length=200)]


class EmbeddingRequest(TruncatingRequest, kw_only=True):
    model: ModelName
    # One input as text or token ids, or several of either; `inputs_of` finds out which.
    input: str | list[str | TokenId | list[TokenId]]
    encoding_format: Encoding | None = None
    embedding_type: Encoding | None = None  # Jina's name for it
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None

    # Which of the model's own prompts precedes each text.
    prompt_name: PromptName | None = None  # as in sentence-transformers
    input_type: PromptName | None = None  # Cohere's
    task: PromptName | None = None  # Jina's

    add_special_tokens: Any = None
    embed_dtype: Any = None
    endianness: Any = None
    late_chunking: Any = None
    messages: Any = None
    normalize: Any = None

    @property
    def encoding(self) -> Encoding:
        return self.encoding_format or self.embedding_type or "float"


# Parameters that we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "add_special_tokens": (True,),
    "embed_dtype": ("float32",),
    "endianness": ("native", "little"),
    "late_chunking": (False,),
    "messages": (),
    "normalize": (),
}


class Embedding(msgspec.Struct, kw_only=True):
    object: str = "embedding"
    index: int
    embedding: Sequence[float]  # a list; or a memoryview of 32-bit floats, which is encoded as base64


class EncodedEmbedding(msgspec.Struct, kw_only=True):
    """What an `Embedding` is on the wire."""

    object: str = "embedding"
    index: int
    embedding: list[float] | bytes  # bytes: 32-bit floats in base64


class EmbeddingList(msgspec.Struct, kw_only=True):
    """The form of an answer, which is encoded in parts."""

    object: str = "list"
    data: list[EncodedEmbedding]
    model: str
    usage: VectorUsage
