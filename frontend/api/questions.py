"""Questions to a model's tokenizer, which its host answers at once."""

from typing import cast

import falcon.asgi
import msgspec

from frontend.api.client import on_leave_of
from frontend.api.prompting import TurnSpec
from frontend.api.turns import plan_of
from frontend.errors import BadRequest
from frontend.routing.router import Model
from ipc.messages import Detokenize, Detokenized, Prompt, Tokenize, Tokenized

_encode = msgspec.msgpack.encode


async def tokens_of(model: Model, prompt: Prompt, request: falcon.asgi.Request) -> Tokenized:
    """A prompt's token ids, by way of the chat template where it is one for that. Raises as `Model.ask`."""
    answer = await model.ask(
        Tokenize(0, b""), _encode(prompt), "prompt", on_leave_of(request), needs_slot=False
    )
    return cast(Tokenized, answer)


async def count_of(model: Model, spec: TurnSpec, request: falcon.asgi.Request) -> int:
    """The number of tokens of a turn's prompt. Raises as `Model.ask`, or BadRequest."""
    check_countable(spec)
    plan = await plan_of(model, spec)
    return len((await tokens_of(model, plan.prompt, request)).token_ids)


def check_countable(spec: TurnSpec) -> None:
    """Raises BadRequest."""
    if spec.images:
        where = spec.images[0].where
        raise BadRequest(f"{where}: only an answer shows how many tokens an image takes", where)


async def text_of(
    model: Model,
    token_ids: list[int],
    param: str,
    request: falcon.asgi.Request,
    skip_special_tokens: bool = False,
) -> str:
    """The text of token ids that came in the request's `param`. Raises as `Model.ask`."""
    work = Detokenize(0, b"", skip_special_tokens)
    answer = await model.ask(work, _encode(token_ids), param, on_leave_of(request), needs_slot=False)
    return cast(Detokenized, answer).text
