"""Questions to a model's tokenizer, which its host answers at once."""

from typing import cast

import falcon.asgi
import msgspec

from frontend.api.client import on_leave_of
from frontend.routing.router import Model
from ipc.messages import Detokenize, Detokenized, Prompt, Tokenize, Tokenized

_encode = msgspec.msgpack.encode


async def tokens_of(model: Model, prompt: Prompt, request: falcon.asgi.Request) -> Tokenized:
    """A prompt's token ids, by way of the chat template where it is one for that. Raises as `Model.ask`."""
    answer = await model.ask(
        Tokenize(0, b""), _encode(prompt), "prompt", on_leave_of(request), needs_slot=False
    )
    return cast(Tokenized, answer)


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
