"""POST /v1/completions."""

import time
import uuid
from typing import cast

import falcon.asgi
import msgspec
from msgspec import UNSET

from frontend.api.body import decode, read_body
from frontend.api.generating import Collected, respond_streaming, respond_whole, start, usage_body
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
        generation = await start(request, self._router, body.model, specs)
        identity = _Identity(f"cmpl-{uuid.uuid4().hex}", int(time.time()), body.model)
        if body.stream:
            respond_streaming(response, generation, identity.chunk_format(len(specs), body.include_usage))
        else:
            await respond_whole(response, generation, identity.completion)


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


class _Identity(msgspec.Struct):
    """What all bodies of one response have in common."""

    id: str
    created: int
    model: str

    def completion(self, choices: list[Collected], usage: Usage) -> Completion:
        bodies = [TextChoice(index, c.text, c.finish_reason) for index, c in enumerate(choices)]
        return Completion(self.id, self.created, self.model, bodies, usage=usage_body(usage))

    def chunk_format(self, choices: int, include_usage: bool) -> ChunkFormat:
        no_usage = None if include_usage else UNSET

        def chunk(choice: int, text: str, finish_reason: str | None = None) -> Completion:
            body = TextChoice(choice, text, finish_reason)
            return Completion(self.id, self.created, self.model, [body], usage=no_usage)

        def usage_chunk(usage: Usage) -> bytes:
            body = Completion(self.id, self.created, self.model, [], usage=usage_body(usage))
            return event(msgspec.json.encode(body))

        return ChunkFormat(
            opening=b"",
            text=[around_text(lambda text, i=i: chunk(i, text)) for i in range(choices)],  # type: ignore[misc]
            finish=lambda i, reason: event(msgspec.json.encode(chunk(i, "", reason))),
            usage=usage_chunk if include_usage else None,
        )
