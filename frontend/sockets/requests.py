"""Reads what clients send: prompts, which become bodies of chat completions, and API keys. Pure."""

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from frontend.api.body import naming_field
from frontend.api.schema.chat import SessionId
from frontend.errors import BadRequest

_OWN = ("prompt", "request_id", "repeat_penalty")  # fields that a chat completion does not have
_KEYS = ("token", "api_key", "apiKey", "key")  # fields of a client's `auth` that may hold its key

RequestId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=128)]


class Prompted(msgspec.Struct):
    """What this layer reads; the endpoint checks the rest."""

    prompt: Annotated[str, Meta(min_length=1)] | None = None
    messages: Any = None
    model: Any = None
    session_id: SessionId | None = None
    request_id: RequestId | None = None
    repeat_penalty: Any = None
    n: Any = None


class Named(msgspec.Struct):
    session_id: SessionId | None = None
    request_id: RequestId | None = None


def prompted(payload: Any) -> Prompted:
    """Add a request id, and a session id for a `prompt` without one. Raises BadRequest."""
    with naming_field(Prompted):
        asked = msgspec.convert(payload, Prompted)
    if (asked.prompt is None) == (asked.messages is None):
        raise BadRequest("send either prompt or messages", "prompt")
    if asked.n not in (None, 1):
        raise BadRequest("n: these events are of one answer", "n")
    if asked.request_id is None:
        asked.request_id = f"req_{uuid.uuid4().hex}"
    if asked.session_id is None and asked.prompt is not None:
        asked.session_id = f"sess_{uuid.uuid4().hex}"
    return asked


def named(payload: Any) -> Named:
    """Raises BadRequest."""
    with naming_field(Named):
        return msgspec.convert({"session_id": payload} if isinstance(payload, str) else payload, Named)


def chat_body(payload: dict[str, Any], asked: Prompted, model: str) -> bytes:
    """The body of a streamed chat completion. `model` is used where the client names none."""
    fields = {name: value for name, value in payload.items() if name not in _OWN}
    if asked.prompt is not None:
        fields["messages"] = [{"role": "user", "content": asked.prompt}]
    if asked.repeat_penalty is not None:
        fields.setdefault("repetition_penalty", asked.repeat_penalty)
    if asked.session_id is not None:
        fields["session_id"] = asked.session_id
    own = {"model": asked.model or model, "stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(fields | own)


def key_in(auth: Any) -> str | None:
    """The API key in the `auth` that a client sent when it connected; None if there is none."""
    if isinstance(auth, dict):
        auth = next((auth[name] for name in _KEYS if isinstance(auth.get(name), str)), None)
    if not isinstance(auth, str) or not auth:
        return None
    scheme, _, token = auth.partition(" ")
    return token if scheme.lower() == "bearer" and token else auth
