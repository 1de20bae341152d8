"""Bodies of the endpoints for reranking, in Cohere's and Jina's form, and of POST /score, in vLLM's."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.api.schema.common import ModelName, TokenCount
from frontend.api.schema.vectors import TruncatingRequest, VectorUsage

MAX_DOCUMENTS = 10_000  # Cohere's
_DOCUMENTS_PER_SEARCH_UNIT = 100  # likewise

Query = Annotated[str, Meta(min_length=1)]
Instruction = Annotated[str, Meta(max_length=10_000)]
Fields = dict[str, Any]  # of a document that is an object


class RerankRequest(TruncatingRequest, kw_only=True):
    model: ModelName
    query: Query
    documents: Annotated[list[str | Fields], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: Annotated[list[str], Meta(min_length=1)] | None = None
    max_tokens_per_doc: TokenCount | None = None
    instruction: Instruction | None = None  # for models that take one

    relevant_spans: Any = None
    priority: Any = None


# Parameters that we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {"relevant_spans": (), "priority": (0,)}


class RankedDocument(msgspec.Struct, kw_only=True):
    index: int  # in the request's documents
    relevance_score: float
    document: Fields | UnsetType = UNSET


class ApiVersion(msgspec.Struct):
    version: str


class BilledUnits(msgspec.Struct):
    search_units: int

    @classmethod
    def of(cls, documents: int) -> "BilledUnits":
        return cls(-(-documents // _DOCUMENTS_PER_SEARCH_UNIT))


class Tokens(msgspec.Struct):
    input_tokens: int


class CohereMeta(msgspec.Struct):
    """Cohere's account of a request. Nobody is billed; the fields are what its clients read."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: Tokens


class Ranking(msgspec.Struct, kw_only=True):
    """The whole answer: `meta` is Cohere's, `object` and `usage` are Jina's."""

    object: str = "list"
    id: str
    model: str
    results: list[RankedDocument]
    usage: VectorUsage
    meta: CohereMeta


class ScoreRequest(TruncatingRequest, kw_only=True):
    """Pairs to score: one text with each of several, or texts pair by pair."""

    model: ModelName
    text_1: Query | Annotated[list[str], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    text_2: str | Annotated[list[str], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    instruction: Instruction | None = None


class Score(msgspec.Struct, kw_only=True):
    index: int
    object: str = "score"
    score: float


class ScoreList(msgspec.Struct, kw_only=True):
    id: str
    object: str = "list"
    created: int  # Unix seconds
    model: str
    data: list[Score]
    usage: VectorUsage
