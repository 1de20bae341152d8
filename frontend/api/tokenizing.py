"""What a model makes of a text: /tokenize, /detokenize, /tokenizer_info and /v1/chat/completions/render."""

import falcon.asgi
import msgspec

from frontend.api.abilities import text_card
from frontend.api.area import App, Server
from frontend.api.body import LARGE_BYTES, decode, read_body, read_json
from frontend.api.chat import turn_spec
from frontend.api.generating import off_loop, respond_json
from frontend.api.json_size import JsonLimits
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import Plan
from frontend.api.questions import check_countable, text_of, tokens_of
from frontend.api.schema.chat import ChatRequest
from frontend.api.schema.tokenizing import (
    ChatTokenizeRequest,
    DetokenizeAnswer,
    DetokenizeRequest,
    RenderAnswer,
    TokenizeAnswer,
    TokenizeRequest,
    TokenizerInfo,
)
from frontend.api.served import model_of
from frontend.api.turns import plan_of
from frontend.errors import BadRequest
from frontend.routing.router import Model, Router
from ipc.messages import Prompt, TextPrompt

_TOKEN_LIMITS = JsonLimits(separators=1_000_000)  # one array of token ids
_NO_MODEL = "model is missing: name it, as in /tokenizer_info?model=NAME"

_chat = msgspec.json.Decoder(ChatRequest)
_chat_tokenize = msgspec.json.Decoder(ChatTokenizeRequest)
_tokenize = msgspec.json.Decoder(TokenizeRequest)
_detokenize = msgspec.json.Decoder(DetokenizeRequest)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Tokenizing:
    """Small endpoints of one resource: `suffix` tells them apart."""

    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    @describes(
        "The tokens of a text or a conversation",
        body=TokenizeRequest | ChatTokenizeRequest,
        answer=TokenizeAnswer,
        errors=OF_ENGINES,
        example={"model": "smollm2", "prompt": "Hello"},
    )
    async def on_post_tokenize(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        data = await read_body(request, self._max_body_bytes)
        if "messages" in decode(data, _fields):
            body: ChatTokenizeRequest | TokenizeRequest = decode(data, _chat_tokenize)
        else:
            body = decode(data, _tokenize)
        model = await self._model(body.model, request)
        if isinstance(body, TokenizeRequest):
            prompt: Prompt = TextPrompt(body.prompt, body.add_special_tokens is not False)
        else:
            prompt = (await _plan(model, body, len(data) > LARGE_BYTES)).prompt
        answer = await tokens_of(model, prompt, request)
        respond_json(
            response,
            TokenizeAnswer(
                count=len(answer.token_ids),
                max_model_len=model.card.context_length,
                tokens=answer.token_ids,
                token_strs=answer.token_texts if body.return_token_strs else None,
            ),
        )

    @describes(
        "The text of tokens",
        body=DetokenizeRequest,
        answer=DetokenizeAnswer,
        errors=OF_ENGINES,
        example={"model": "smollm2", "tokens": [1, 2, 3]},
    )
    async def on_post_detokenize(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body = decode(await read_body(request, self._max_body_bytes, _TOKEN_LIMITS), _detokenize)
        if not body.tokens:
            raise BadRequest("tokens must not be empty", "tokens")
        model = await self._model(body.model, request)
        if len(body.tokens) > (most := model.card.context_length):
            raise BadRequest(f"tokens: at most {most}, the context length of this model", "tokens")
        text = await text_of(model, body.tokens, "tokens", request, bool(body.skip_special_tokens))
        respond_json(response, DetokenizeAnswer(text))

    @describes(
        "The exact prompt of a chat completion",
        body=ChatRequest,
        answer=RenderAnswer,
        errors=OF_ENGINES,
        example={"model": "smollm2", "messages": [{"role": "user", "content": "Say hello."}]},
    )
    async def on_post_render(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, is_large = await read_json(request, self._max_body_bytes, _chat)
        model = await self._model(body.model, request)
        plan = await _plan(model, body, is_large)
        answer = await tokens_of(model, plan.prompt, request)
        respond_json(
            response,
            RenderAnswer(
                model=body.model,
                prompt=answer.text,
                token_ids=answer.token_ids,
                grammar=plan.grammar or msgspec.UNSET,
            ),
        )

    @describes(
        "Special tokens and chat template", answer=TokenizerInfo, query={"model": str}, errors=OF_ENGINES
    )
    async def on_get_info(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        name = request.get_param("model") or self._router.only_model(_NO_MODEL)
        card = text_card(await self._model(name, request))
        special = card.special_tokens
        respond_json(
            response,
            TokenizerInfo(
                model_max_length=card.context_length,
                vocab_size=card.vocab_size,
                bos_token=special.get("bos_token"),
                eos_token=special.get("eos_token"),
                pad_token=special.get("pad_token"),
                unk_token=special.get("unk_token"),
                chat_template=card.chat_template or None,
            ),
        )

    async def _model(self, name: str, request: falcon.asgi.Request) -> Model:
        return await model_of(self._router, name or self._router.only_model(), request)


async def _plan(model: Model, body: ChatRequest, is_large: bool) -> Plan:
    spec = await off_loop(body.is_constrained or is_large, turn_spec, body)
    check_countable(spec)
    return await plan_of(model, spec)


def install(app: App, server: Server) -> None:
    tokenizing = Tokenizing(server.router, server.max_body_bytes)
    app.add_route("/v1/chat/completions/render", tokenizing, suffix="render")
    app.add_route("/tokenize", tokenizing, suffix="tokenize")
    app.add_route("/detokenize", tokenizing, suffix="detokenize")
    app.add_route("/tokenizer_info", tokenizing, suffix="info")
