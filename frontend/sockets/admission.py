"""Authenticates connections: a handshake is judged like a request, with the key that follows it.

Browsers cannot add headers to the handshake of a WebSocket. Clients there send their key as `auth` in the
packet that follows it.
"""

from collections.abc import Callable

from frontend.api.schema.inference import InferenceError
from frontend.caller import Caller
from frontend.http.asgi import Application, Headers, Message, Scope
from frontend.http.exchange import Exchange, attach, exchange_of
from frontend.http.inside import Answer
from frontend.sockets.answers import refused

# Of prompts. Unlike `/v1/inference_sse`, it also reaches models of other servers and the response cache.
ENDPOINT = "/v1/chat/completions"


class Refused(Exception):
    def __init__(self, error: InferenceError) -> None:
        super().__init__(error.error)
        self.error = error


class Admission:
    def __init__(self, gate: Callable[[Application], Application]) -> None:
        """`gate` wraps an application in the layer that decides which requests pass."""
        self._gate = gate(_admitted)

    async def caller(self, handshake: Scope, key: str | None) -> Caller:
        """Raises Refused where a request for a chat completion would be refused."""
        scope = attach(_as_request(handshake, key), Exchange("", 0.0))
        answer = _Recorder()
        await self._gate(scope, _nothing, answer.send)
        if answer.status is not None:
            raise Refused(refused(Answer(answer.status, answer.headers, answer.body)))
        return exchange_of(scope).caller


class _Recorder:
    def __init__(self) -> None:
        self.status: int | None = None  # None: nothing was refused
        self.headers: Headers = []
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        self.body += message.get("body", b"")


def _as_request(handshake: Scope, key: str | None) -> Scope:
    headers = list(handshake["headers"])
    if key is not None:
        headers = [(name, value) for name, value in headers if name not in (b"authorization", b"x-api-key")]
        headers.append((b"authorization", f"Bearer {key}".encode("utf-8", "replace")))
    return {**handshake, "type": "http", "method": "POST", "path": ENDPOINT, "headers": headers}


async def _admitted(scope: Scope, receive: object, send: object) -> None:
    """The request has passed; there is nothing to answer."""


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
