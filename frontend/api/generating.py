"""What the generating endpoints do alike: start a generation, say who it is, and answer."""

import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import falcon
import falcon.asgi
import msgspec

from frontend.api.compiling import in_thread
from frontend.api.course import course_of, prompts_json
from frontend.api.schema.common import CompletionTokensDetails, PromptTokensDetails, UsageBody
from frontend.http.client import client_of
from frontend.http.exchange import TokenCounts, exchange_of, unattended_exchange
from frontend.routing.router import Model
from frontend.tasks.generation import Generation, KeptGeneration, Usage, generate
from frontend.tasks.text import SequenceSpec

P = ParamSpec("P")
T = TypeVar("T")


class Identity(msgspec.Struct):
    """What all bodies of one response have in common."""

    id: str
    created: int  # Unix seconds
    model: str  # as the client named it, until the model is there
    system_fingerprint: str | None = None  # changes with the model's files and the engine

    @classmethod
    def new(cls, prefix: str, model: str) -> "Identity":
        return cls(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), model)

    def answered_by(self, model: Model) -> None:
        self.model, self.system_fingerprint = model.name, model.card.fingerprint

    @property
    def fields(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)


async def start(
    request: falcon.asgi.Request | None, model: Model, specs: list[SequenceSpec], streaming: bool
) -> Generation:
    """A generation that every engine has accepted, and that ends when the request's client leaves.

    Waiting for the engines' acceptance lets a refusal be an HTTP error, also where a stream was asked for.
    """
    client = None if request is None else client_of(request.scope)
    exchange = unattended_exchange() if request is None else exchange_of(request.scope)
    trace = exchange.trace
    prompts = prompts_json(specs) if trace is not None and trace.keeps_text else None
    kind = Generation if prompts is None else KeptGeneration
    generation = generate(model, specs, streaming, client.age_seconds if client else 0.0, kind)
    try:
        if client is not None:
            client.on_leave(lambda: generation.cancel(client.why))
        exchange.course = partial(course_of, generation, prompts)
        await generation.accepted()
        exchange.tokens = partial(_tokens, generation)
        exchange.first_token_seconds = partial(_first_token_seconds, generation)
    except BaseException:
        generation.close()
        raise
    return generation


def _tokens(generation: Generation) -> TokenCounts:
    usage = generation.usage
    return TokenCounts(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)


def _first_token_seconds(generation: Generation) -> float | None:
    timing = generation.timing
    return None if timing.first_token_at is None else timing.first_token_at - timing.queued_at


async def off_loop(may_take_long: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in another thread if it may take long, and compile its constraints in another process then.

    `work` must be pure, as it may run several times.
    """
    return await in_thread(work, *args, **kwargs) if may_take_long else work(*args, **kwargs)


def respond_json(response: falcon.asgi.Response, body: msgspec.Struct) -> None:
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body)


def usage_body(usage: Usage, reasoning_tokens: int = 0) -> UsageBody:
    return UsageBody(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens + usage.completion_tokens,
        PromptTokensDetails(usage.cached_tokens),
        CompletionTokensDetails(reasoning_tokens),
    )
