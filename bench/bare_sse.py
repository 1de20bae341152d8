"""The frontend's baseline: Falcon on uvicorn, streaming made-up tokens without an engine.

It implements as much of the OpenAI API as `nacelle bench serve` needs, with one chunk per token in the same
form as Nacelle's. It never waits between tokens, so no Falcon server that sends one chunk per token can be
faster.
"""

import time
from collections.abc import AsyncIterator
from itertools import count, cycle, islice
from typing import Any

import click
import falcon
import falcon.asgi
import msgspec
import uvicorn

_WORDS = tuple(f" word{number}" for number in range(16))
_PROMPT_TOKENS = 1  # prompts are not tokenized


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    model: str
    max_tokens: int = 128
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": _PROMPT_TOKENS,
            "completion_tokens": self.max_tokens,
            "total_tokens": _PROMPT_TOKENS + self.max_tokens,
        }


_decoder = msgspec.json.Decoder(_Request)
_encode = msgspec.json.encode
_numbers = count()


class Completions:
    """POST /v1/chat/completions or /v1/completions."""

    def __init__(self, chat: bool) -> None:
        self._chat = chat

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        try:
            asked = _decoder.decode(await req.stream.read())
        except msgspec.DecodeError as error:
            raise falcon.HTTPBadRequest(description=str(error)) from None
        if asked.stream:
            resp.content_type = "text/event-stream"
            resp.stream = self._events(asked)
            return
        text = "".join(islice(cycle(_WORDS), asked.max_tokens))
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        )
        choice = {"index": 0, **said, "finish_reason": "length"}
        resp.data = _encode(self._frame(asked, "") | {"choices": [choice], "usage": asked.usage})

    async def _events(self, asked: _Request) -> AsyncIterator[bytes]:
        frame = self._frame(asked, ".chunk") | {"choices": []}
        opening = b"data: " + _encode(frame).removesuffix(b"]}") + b'{"index":0,' + self._before_text
        closing = self._after_text + b',"logprobs":null,"finish_reason":null}]}\n\n'
        for word in islice(cycle(_WORDS), asked.max_tokens):
            yield opening + _encode(word) + closing
        yield (opening + b'""' + closing).replace(b'"finish_reason":null', b'"finish_reason":"length"')
        if asked.wants_usage:
            yield b"data: " + _encode(frame | {"usage": asked.usage}) + b"\n\n"
        yield b"data: [DONE]\n\n"

    @property
    def _before_text(self) -> bytes:
        return b'"delta":{"content":' if self._chat else b'"text":'

    @property
    def _after_text(self) -> bytes:
        return b"}" if self._chat else b""

    def _frame(self, asked: _Request, suffix: str) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{next(_numbers):032x}",
            "object": f"chat.completion{suffix}" if self._chat else "text_completion",
            "created": int(time.time()),
            "model": asked.model,
        }


class Health:
    """GET /health, which is polled until the server is up."""

    async def on_get(self, _: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.media = {"status": "ok"}


def create_app() -> falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]:
    app = falcon.asgi.App()
    app.add_route("/health", Health())
    app.add_route("/v1/chat/completions", Completions(chat=True))
    app.add_route("/v1/completions", Completions(chat=False))
    return app


@click.command()
@click.option("--port", type=int, required=True)
def main(port: int) -> None:
    """Serve on 127.0.0.1."""
    uvicorn.run(
        create_app(), port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
