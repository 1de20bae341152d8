"""POST /v1/rerank, /rerank and /v2/rerank: documents by relevance to a query. POST /score: pairs of texts."""

import time
import uuid
from typing import cast

import falcon.asgi
import msgspec

from frontend.api.abilities import rerank_card
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.client import on_leave_of
from frontend.api.generating import off_loop, respond_json
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.common import refuse_unsupported
from frontend.api.schema.rerank import (
    UNSUPPORTED,
    ApiVersion,
    BilledUnits,
    CohereMeta,
    Fields,
    RankedDocument,
    Ranking,
    RerankRequest,
    Score,
    ScoreList,
    ScoreRequest,
    Tokens,
)
from frontend.api.schema.vectors import TO_THE_WINDOW, VectorUsage
from frontend.api.served import model_of
from frontend.errors import BadRequest, EngineFailed
from frontend.http.exchange import TokenCounts, exchange_of
from frontend.routing.router import Router
from ipc.messages import Rerank, Reranked, RerankInputs

_rerank = msgspec.json.Decoder(RerankRequest)
_score = msgspec.json.Decoder(ScoreRequest)
_msgpack = msgspec.msgpack.encode

_SCORE_PARAMS = {"query": "text_1", "queries": "text_1", "documents": "text_2"}


_describes_ranking = describes(
    "Documents by relevance to a query",
    body=RerankRequest,
    answer=Ranking,
    errors=OF_ENGINES,
    example={"model": "reranker", "query": "cats", "documents": ["about cats", "about dogs"]},
)


class Reranking:
    """One resource for every version of the API. `suffix` names the version."""

    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    @_describes_ranking
    async def on_post_v1(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        await self._answer(request, response, "1", return_documents=True)

    @_describes_ranking
    async def on_post_v2(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        await self._answer(request, response, "2", return_documents=False)

    async def _answer(
        self,
        request: falcon.asgi.Request,
        response: falcon.asgi.Response,
        version: str,
        *,
        return_documents: bool,
    ) -> None:
        """`return_documents`: unless the request says."""
        body, is_large = await read_json(request, self._max_body_bytes, _rerank)
        refuse_unsupported(body, UNSUPPORTED)
        texts = await off_loop(is_large, texts_of, body.documents, body.rank_fields or ["text"])
        if body.return_documents is None:
            body.return_documents = return_documents
        scored = await _scored(self._router, request, body, RerankInputs([body.query], texts), TO_THE_WINDOW)
        respond_json(
            response,
            Ranking(
                id=str(uuid.uuid4()),
                model=scored.model,
                results=ranked(scored.scores, body),
                usage=scored.usage,
                meta=CohereMeta(
                    ApiVersion(version), BilledUnits.of(len(texts)), Tokens(scored.usage.prompt_tokens)
                ),
            ),
        )


class Scoring:
    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    @describes(
        "Scores of pairs of texts",
        body=ScoreRequest,
        answer=ScoreList,
        errors=OF_ENGINES,
        example={"model": "reranker", "text_1": "cats", "text_2": ["about cats", "about dogs"]},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, is_large = await read_json(request, self._max_body_bytes, _score)
        inputs = await off_loop(is_large, pairs_of, body)
        try:
            scored = await _scored(self._router, request, body, inputs, default_truncation=None)
        except BadRequest as error:
            raise _by_its_own_names(error) from None
        respond_json(
            response,
            ScoreList(
                id=f"score-{uuid.uuid4().hex}",
                created=int(time.time()),
                model=scored.model,
                data=[Score(index=index, score=score) for index, score in enumerate(scored.scores)],
                usage=scored.usage,
            ),
        )


def _by_its_own_names(error: BadRequest) -> BadRequest:
    """A refusal that names a field of Rerank, with the name that the field has in a score request."""
    field, bracket, index = (error.param or "").partition("[")
    if error.param is not None and field in _SCORE_PARAMS:
        name = f"{_SCORE_PARAMS[field]}{bracket}{index}"
        error.message, error.param = error.message.replace(error.param, name), name
    return error


class _Scored(msgspec.Struct, frozen=True):
    model: str
    scores: list[float]
    usage: VectorUsage


async def _scored(
    router: Router,
    request: falcon.asgi.Request,
    body: RerankRequest | ScoreRequest,
    inputs: RerankInputs,
    default_truncation: int | None,
) -> _Scored:
    """The scores of pairs, in their order. Raises as Router.model and Model.ask."""
    model = await model_of(router, body.model, request)
    card = rerank_card(model)
    truncation = body.truncation(card.context_length, default_truncation)
    per_document = body.max_tokens_per_doc if isinstance(body, RerankRequest) else None
    work = Rerank(0, b"", truncation, body.instruction or "", per_document)
    param = "documents" if isinstance(body, RerankRequest) else "text_2"
    answer = cast(Reranked, await model.ask(work, _msgpack(inputs), param, on_leave_of(request)))
    exchange_of(request.scope).tokens = lambda: TokenCounts(answer.prompt_tokens)
    if answer.shape != (len(inputs.documents),):
        raise EngineFailed("the engine returned another number of scores than asked for")
    scores = list(memoryview(cast(bytes, answer.payload)).cast("f"))
    return _Scored(model.name, scores, VectorUsage(answer.prompt_tokens, answer.prompt_tokens))


def texts_of(documents: list[str | Fields], rank_fields: list[str]) -> list[str]:
    """What is scored of each document: of an object, the texts of those fields that it has, in their order.

    Raises BadRequest.
    """
    return [
        document if isinstance(document, str) else _text(f"documents[{index}]", document, rank_fields)
        for index, document in enumerate(documents)
    ]


def _text(where: str, document: Fields, rank_fields: list[str]) -> str:
    texts = [document[name] for name in rank_fields if name in document]
    if not texts:
        raise BadRequest(f"{where} must be a string, or have {' or '.join(rank_fields)}", where)
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(f"{where}: {', '.join(rank_fields)} must be text", where)
    return "\n".join(texts)


def ranked(scores: list[float], body: RerankRequest) -> list[RankedDocument]:
    """The best `top_n` documents, the best first; equal ones in the request's order."""
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    found = [RankedDocument(index=index, relevance_score=scores[index]) for index in order[: body.top_n]]
    if body.return_documents:
        for result in found:
            document = body.documents[result.index]
            result.document = {"text": document} if isinstance(document, str) else document
    return found


def pairs_of(body: ScoreRequest) -> RerankInputs:
    """Raises BadRequest where the texts do not form pairs."""
    queries = [body.text_1] if isinstance(body.text_1, str) else body.text_1
    documents = [body.text_2] if isinstance(body.text_2, str) else body.text_2
    if len(queries) not in (1, len(documents)):
        raise BadRequest(
            f"text_1 must be one text or as many as text_2, {len(documents)}, not {len(queries)}", "text_1"
        )
    for index, query in enumerate(queries):
        if not query:
            raise BadRequest(f"text_1[{index}] must not be empty", f"text_1[{index}]")
    return RerankInputs(queries, documents)


def install(app: App, server: Server) -> None:
    reranking = Reranking(server.router, server.max_body_bytes)
    app.add_route("/v1/rerank", reranking, suffix="v1")
    app.add_route("/rerank", reranking, suffix="v1")
    app.add_route("/v2/rerank", reranking, suffix="v2")
    scoring = Scoring(server.router, server.max_body_bytes)
    app.add_route("/score", scoring)
    app.add_route("/v1/score", scoring)
