"""What the generating endpoints do alike: start a generation, then stream it or collect it."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import falcon
import falcon.asgi
import msgspec

from frontend.api.client import client_of
from frontend.api.schema.common import GenerationRequest, UsageBody
from frontend.api.sse import CONTENT_TYPE, ChunkFormat, stream
from frontend.errors import ClientGone
from frontend.routing.generation import Generation, SequenceSpec, Usage
from frontend.routing.router import Router


class Identity(msgspec.Struct, frozen=True):
    """What all bodies of one response have in common."""

    id: str
    created: int  # Unix seconds
    model: str

    @classmethod
    def new(cls, prefix: str, model: str) -> "Identity":
        return cls(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), model)

    @property
    def fields(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)


class Collected(msgspec.Struct):
    """One choice's whole output."""

    text: str
    finish_reason: str


async def start(
    request: falcon.asgi.Request, router: Router, body: GenerationRequest, specs: list[SequenceSpec]
) -> Generation:
    """A generation that every engine has accepted, and that ends when the client leaves.

    Waiting for the engines' acceptance lets a refusal be an HTTP error, also where a stream was asked for.
    """
    generation = router.generate(body.model, specs, streaming=bool(body.stream))
    try:
        client_of(request.scope).on_leave(lambda: generation.cancel(ClientGone()))
        await generation.accepted()
    except BaseException:
        generation.close()
        raise
    return generation


def respond_streaming(response: falcon.asgi.Response, generation: Generation, form: ChunkFormat) -> None:
    response.content_type = CONTENT_TYPE
    response.set_header("Cache-Control", "no-cache")
    response.set_header("X-Accel-Buffering", "no")  # tells nginx not to hold events back
    response.stream = stream(generation, form)


async def respond_whole(
    response: falcon.asgi.Response,
    generation: Generation,
    body: Callable[[list[Collected], Usage], msgspec.Struct],
) -> None:
    choices = await _collect(generation)
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body(choices, generation.usage))


async def _collect(generation: Generation) -> list[Collected]:
    texts: list[list[str]] = [[] for _ in generation.sequences]
    reasons = [""] * len(texts)
    try:
        while outputs := await generation.outputs():
            for output in outputs:
                if output.starts_over:
                    texts[output.choice].clear()
                texts[output.choice].append(output.text)
                reasons[output.choice] = output.finish_reason or reasons[output.choice]
    finally:
        generation.close()
    return [Collected("".join(text), reason) for text, reason in zip(texts, reasons, strict=True)]


def usage_body(usage: Usage) -> UsageBody:
    return UsageBody(
        usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens
    )
