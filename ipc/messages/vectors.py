"""Embeddings and reranking: whole inputs in, numbers out, no partial results."""

from typing import Literal

import msgspec

from ipc.messages.core import ModelCard, Options, Result, Task, Value, Work

Pooling = Literal["mean", "cls", "last_token"]
Library = Literal["openvino", "optimum"]


class VectorOptions(Options):
    library: Library = "openvino"
    max_batch_tokens: int = 1024  # of one forward pass, padding included
    context_length: int | None = None  # tokens of an input; None: as the model's files say
    pooling: Pooling | None = None  # likewise
    normalize: bool | None = None  # likewise


class VectorCard(ModelCard):
    dimensions: int  # of an embedding; 0 for a reranker
    prompts: dict[str, str]  # by name, what the model's files put before an input
    default_prompt: str = ""  # the name of the one for inputs that choose none; empty if there is none


# --- embeddings ----------------------------------------------------------------------------------------


class EmbedInputs(Value):
    """The payload of Embed: texts, or token ids without special tokens. None of them is empty."""

    texts: list[str] = []
    token_ids: list[list[int]] = []


class Embedded(Result):
    """Vectors of shape [inputs, dimensions], in the order of the inputs."""


class Embed(Work):
    """Turn each input into a vector."""

    answers = (Embedded,)

    dimensions: int | None = None  # keep the first ones, and normalize again if the model does; None: all
    prompt: str = ""  # put before each input
    truncate: int | None = None  # keep an input's first N tokens; -1: what fits; None: a longer one fails


# --- rerank --------------------------------------------------------------------------------------------


class RerankInputs(Value):
    """The payload of Rerank: pairs to score, one per document, or one per query and document for scoring."""

    queries: list[str]  # as many as documents, or one for all of them
    documents: list[str]


class Reranked(Result):
    """Scores of shape [documents], from 0 to 1, in the order of the documents."""


class Rerank(Work):
    """Score how well each document answers its query."""

    answers = (Reranked,)

    truncate: int | None = -1  # cut documents at the end so that pairs have N tokens at most; else as Embed
    instruction: str = ""  # for causal rerankers; empty for the model's own
    max_document_tokens: int | None = None  # cut each document at the end first


TASK = Task(
    name="vectors",
    engines=("embeddings", "rerank"),
    options=VectorOptions,
    card=VectorCard,
    work=(Embed, Rerank),
    replies=(Embedded, Reranked),
)

decode_embed_inputs = msgspec.msgpack.Decoder(EmbedInputs).decode
decode_rerank_inputs = msgspec.msgpack.Decoder(RerankInputs).decode
