"""POST /tokenize, /detokenize and /v1/chat/completions/render: what a model makes of a text."""

from typing import cast

import falcon.asgi
import msgspec

from frontend.api.body import decode, read_body
from frontend.api.chat import turn_spec
from frontend.api.client import on_leave_of
from frontend.api.generating import off_loop, respond_json
from frontend.api.prompting import Plan
from frontend.api.schema.chat import ChatRequest
from frontend.api.schema.tokenizing import (
    ChatTokenizeRequest,
    DetokenizeAnswer,
    DetokenizeRequest,
    RenderAnswer,
    TokenizeAnswer,
    TokenizeRequest,
)
from frontend.api.turns import plan_of
from frontend.errors import BadRequest
from frontend.routing.router import Router
from ipc.messages import Detokenize, Detokenized, InlinePrompt, TextPrompt, Tokenized

_chat = msgspec.json.Decoder(ChatRequest)
_chat_tokenize = msgspec.json.Decoder(ChatTokenizeRequest)
_tokenize = msgspec.json.Decoder(TokenizeRequest)
_detokenize = msgspec.json.Decoder(DetokenizeRequest)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Tokenizing:
    """Three small endpoints of one resource: `suffix` tells them apart."""

    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    async def on_post_tokenize(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        data = await read_body(request, self._max_body_bytes)
        if "messages" in decode(data, _fields):
            body: ChatTokenizeRequest | TokenizeRequest = decode(data, _chat_tokenize)
        else:
            body = decode(data, _tokenize)
        if isinstance(body, TokenizeRequest):
            prompt: InlinePrompt = TextPrompt(body.prompt, body.add_special_tokens is not False)
        else:
            prompt = (await self._plan(body, request)).prompt
        answer = await self._tokenized(body.model, prompt, request)
        respond_json(
            response,
            TokenizeAnswer(
                count=len(answer.token_ids),
                max_model_len=(await self._router.card(body.model)).context_length,
                tokens=answer.token_ids,
                token_strs=answer.token_texts if body.return_token_strs else None,
            ),
        )

    async def on_post_detokenize(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body = decode(await read_body(request, self._max_body_bytes), _detokenize)
        if not body.tokens:
            raise BadRequest("tokens must not be empty", "tokens")
        question = Detokenize(0, body.tokens, bool(body.skip_special_tokens))
        answer = await self._router.ask(body.model, question, on_leave_of(request))
        respond_json(response, DetokenizeAnswer(cast(Detokenized, answer).text))

    async def on_post_render(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body = decode(await read_body(request, self._max_body_bytes), _chat)
        plan = await self._plan(body, request)
        answer = await self._tokenized(body.model, plan.prompt, request)
        respond_json(
            response,
            RenderAnswer(
                model=body.model,
                prompt=answer.text,
                token_ids=answer.token_ids,
                grammar=plan.grammar or msgspec.UNSET,
            ),
        )

    async def _tokenized(self, model: str, prompt: InlinePrompt, request: falcon.asgi.Request) -> Tokenized:
        return cast(Tokenized, await self._router.ask(model, prompt, on_leave_of(request)))

    async def _plan(self, body: ChatRequest, request: falcon.asgi.Request) -> Plan:
        return await plan_of(self._router, await off_loop(body.is_constrained, turn_spec, body), request)
