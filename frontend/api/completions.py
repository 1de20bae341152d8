"""POST /v1/completions."""

from functools import partial
from typing import cast

import falcon.asgi
import msgspec
from msgspec import UNSET

from frontend.api.body import decode, read_body
from frontend.api.generating import Collected, Identity, respond_streaming, respond_whole, start, usage_body
from frontend.api.schema.common import MAX_CHOICES, check_stream_options, refuse_unsupported
from frontend.api.schema.completions import UNSUPPORTED, Completion, CompletionRequest, TextChoice
from frontend.api.sse import ChunkFormat, around_text, event
from frontend.errors import BadRequest
from frontend.routing.generation import SequenceSpec, Usage
from frontend.routing.router import Router
from ipc.messages import TextPrompt, TokenPrompt

DEFAULT_MAX_TOKENS = 16  # OpenAI's

_decoder = msgspec.json.Decoder(CompletionRequest)


class Completions:
    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body = decode(await read_body(request, self._max_body_bytes), _decoder)
        refuse_unsupported(body, UNSUPPORTED)
        check_stream_options(body)
        specs = specs_of(body)
        generation = await start(request, self._router, body, specs)
        identity = Identity.new("cmpl", body.model)
        if body.stream:
            form = _chunk_format(identity, len(specs), body.include_usage)
            respond_streaming(response, generation, form)
        else:
            await respond_whole(response, generation, partial(_completion, identity))


def specs_of(body: CompletionRequest) -> list[SequenceSpec]:
    """`n` sequences per prompt, in the order of OpenAI's choices."""
    prompts, choices = prompts_of(body.prompt), body.n or 1
    if len(prompts) * choices > MAX_CHOICES:
        raise BadRequest(f"prompts × n must be at most {MAX_CHOICES}", "n" if choices > 1 else "prompt")
    max_tokens = body.max_tokens or DEFAULT_MAX_TOKENS
    return [
        SequenceSpec(prompt, body.sampling(max_tokens, choice), index)
        for index, prompt in enumerate(prompts)
        for choice in range(choices)
    ]


def prompts_of(prompt: str | list[str | int | list[int]]) -> list[TextPrompt | TokenPrompt]:
    """The prompts of a request. Raises BadRequest for a list of unlike kinds, or an empty one."""
    if isinstance(prompt, str):
        prompt = [prompt]
    if prompt and all(isinstance(item, int) for item in prompt):
        prompt = [cast("list[int]", prompt)]
    if not prompt or len({type(item) for item in prompt}) > 1:
        raise BadRequest("prompt must be a string, token ids, or a list of either", "prompt")
    if not all(prompt):
        raise BadRequest("prompt must not be empty", "prompt")
    return [TextPrompt(p) if isinstance(p, str) else TokenPrompt(cast("list[int]", p)) for p in prompt]


def _completion(identity: Identity, choices: list[Collected], usage: Usage) -> Completion:
    bodies = [TextChoice(index, c.text, c.finish_reason) for index, c in enumerate(choices)]
    return Completion(**identity.fields, choices=bodies, usage=usage_body(usage))


def _chunk_format(identity: Identity, choices: int, include_usage: bool) -> ChunkFormat:
    no_usage = None if include_usage else UNSET

    def chunk(choice: int, text: str, finish_reason: str | None = None) -> Completion:
        body = TextChoice(choice, text, finish_reason)
        return Completion(**identity.fields, choices=[body], usage=no_usage)

    return ChunkFormat(
        opening=b"",
        text=[around_text(lambda text, i=i: chunk(i, text)) for i in range(choices)],  # type: ignore[misc]
        finish=lambda i, reason: event(chunk(i, "", reason)),
        usage=lambda usage: event(Completion(**identity.fields, choices=[], usage=usage_body(usage))),
        include_usage=include_usage,
    )
