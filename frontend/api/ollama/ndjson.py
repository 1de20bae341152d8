"""Streams as lines of JSON."""

import msgspec

from frontend.api.sse import Framing
from frontend.http.error_body import ollama_error_body

encode = msgspec.json.encode


def line(body: object) -> bytes:
    return encode(body) + b"\n"


NDJSON = Framing("application/x-ndjson", lambda error: line(ollama_error_body(error)))
