"""POST /v1/completions."""

from functools import partial
from typing import cast

import falcon.asgi
import msgspec

from frontend.api.abilities import text_card
from frontend.api.area import App, Server
from frontend.api.body import LARGE_BYTES, decode, read_sized
from frontend.api.completions_answer import TextChunks, completion, heartbeat
from frontend.api.generating import Identity, off_loop, respond_json, start
from frontend.api.json_size import JsonLimits
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import encoded, with_grammar
from frontend.api.questions import text_of
from frontend.api.schema.common import (
    MAX_CHOICES,
    UNSUPPORTED,
    check_stream_options,
    check_top_logprobs,
    refuse_unsupported,
)
from frontend.api.schema.completions import Completion, CompletionRequest
from frontend.api.served import model_of
from frontend.api.sse import Stream, respond_streaming
from frontend.api.token_arrays import PLACEHOLDER, cut_out, token_ids_of
from frontend.errors import BadRequest
from frontend.routing.router import Model, Router
from frontend.tasks.generation import Generation
from frontend.tasks.text import Output, SequenceSpec
from ipc.messages import Sampling, TextPrompt, TokenPrompt

DEFAULT_MAX_TOKENS = 16  # OpenAI's

_LIMITS = JsonLimits(separators=2_000_000)  # prompts as token ids

_decoder = msgspec.json.Decoder(CompletionRequest)


class Completions:
    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    @describes(
        "A text completion",
        body=CompletionRequest,
        answer=Completion,
        events=Completion,
        errors=OF_ENGINES,
        example={"model": "smollm2", "prompt": "Once upon", "max_tokens": 4},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        data, array = cut_out(*await read_sized(request, self._max_body_bytes, _LIMITS), "prompt")
        body = decode(data, _decoder)
        if array and body.prompt == PLACEHOLDER:
            body.prompt = await _long_prompts(array, body.n or 1)
        may_take_long = body.is_constrained or len(data) + len(array) > LARGE_BYTES
        specs = await off_loop(may_take_long, specs_of, body)
        identity = Identity.new("cmpl", body.model)
        if body.stream:
            begin = self._stream(identity, body, specs, request)
            await respond_streaming(request, response, begin, heartbeat=partial(heartbeat, identity, body))
        else:
            generation, echoes = await self._begin(identity, body, specs, request)
            respond_json(response, await completion(identity, generation, body, echoes))

    async def _stream(
        self,
        identity: Identity,
        body: CompletionRequest,
        specs: list[SequenceSpec],
        request: falcon.asgi.Request,
    ) -> Stream[Output]:
        generation, echoes = await self._begin(identity, body, specs, request)
        chunks = TextChunks(identity, generation, body, echoes)
        return Stream(generation, chunks.encode, chunks.ending, generation.close, chunks.opening)

    async def _begin(
        self,
        identity: Identity,
        body: CompletionRequest,
        specs: list[SequenceSpec],
        request: falcon.asgi.Request,
    ) -> tuple[Generation, list[str]]:
        model = await model_of(self._router, body.model, request, body.variant_key)
        identity.answered_by(model)
        text_card(model)
        echoes = await self._echoes(body, model, specs, request)
        return await start(request, model, specs, bool(body.stream)), echoes

    async def _echoes(
        self, body: CompletionRequest, model: Model, specs: list[SequenceSpec], request: falcon.asgi.Request
    ) -> list[str]:
        """By choice, the text to begin with."""
        if not body.echo:
            return [""] * len(specs)
        texts: dict[int, str] = {}
        for spec in specs:
            if spec.prompt_index not in texts:
                texts[spec.prompt_index] = await self._text(model, spec, request)
        return [texts[spec.prompt_index] for spec in specs]

    async def _text(self, model: Model, spec: SequenceSpec, request: falcon.asgi.Request) -> str:
        if isinstance(spec.prompt, TextPrompt):
            return spec.prompt.text
        return await text_of(model, cast(TokenPrompt, spec.prompt).token_ids, "prompt", request)


async def _long_prompts(array: bytes, choices: int) -> list[str | int | list[int]]:
    """The prompts in a long array of token ids. Raises BadRequest as soon as there are too many."""
    prompts: list[str | int | list[int]] = []
    async for ids in token_ids_of(array, "prompt"):
        prompts.append(ids)
        _check_count(len(prompts), choices)
    return prompts


def _check_count(prompts: int, choices: int) -> None:
    if prompts * choices > MAX_CHOICES:
        raise BadRequest(f"prompts × n must be at most {MAX_CHOICES}", "n" if choices > 1 else "prompt")


def specs_of(body: CompletionRequest) -> list[SequenceSpec]:
    """`n` sequences per prompt, in the order of OpenAI's choices. Raises BadRequest."""
    refuse_unsupported(body, UNSUPPORTED)
    check_stream_options(body)
    check_top_logprobs("logprobs", body.logprobs, most=1)
    if body.max_tokens == 0 and not body.echo:
        raise BadRequest("max_tokens must be at least 1, or 0 with echo", "max_tokens")
    prompts, choices = prompts_of(body.prompt, body.add_special_tokens is not False), body.n or 1
    _check_count(len(prompts), choices)
    output_format = body.output_format
    sampling = partial(_sampling, body, "" if output_format is None else encoded(output_format))
    return [
        SequenceSpec(
            prompt,
            sampling(choice),
            index,
            report_ids=bool(body.return_token_ids),
            score_prompt=bool(body.echo) and body.logprobs is not None,
        )
        for index, prompt in enumerate(prompts)
        for choice in range(choices)
    ]


def prompts_of(
    prompt: str | list[str | int | list[int]], add_special_tokens: bool = True
) -> list[TextPrompt | TokenPrompt]:
    """The prompts of a request. Raises BadRequest for a list of unlike kinds, or an empty one."""
    if isinstance(prompt, str):
        prompt = [prompt]
    if prompt and all(isinstance(item, int) for item in prompt):
        prompt = [cast("list[int]", prompt)]
    if not prompt or len({type(item) for item in prompt}) > 1:
        raise BadRequest("prompt must be a string, token ids, or a list of either", "prompt")
    if not all(prompt):
        raise BadRequest("prompt must not be empty", "prompt")
    return [
        TextPrompt(p, add_special_tokens) if isinstance(p, str) else TokenPrompt(cast("list[int]", p))
        for p in prompt
    ]


def _sampling(body: CompletionRequest, grammar: str, choice: int) -> Sampling:
    max_tokens = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    sampling = body.sampling(max_tokens, choice, body.logprobs is not None)
    return with_grammar(sampling, grammar) if grammar else sampling


def install(app: App, server: Server) -> None:
    app.add_route("/v1/completions", Completions(server.router, server.max_body_bytes))
