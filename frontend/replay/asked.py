"""Which requests may be answered from memory, and what their answers depend on. Pure."""

import hashlib
import re
from typing import Any

import msgspec

from frontend.engine_endpoints import ENDPOINTS
from frontend.errors import BadRequest
from frontend.http.asgi import Scope, header

CACHED_PATHS = frozenset(path for path, endpoint in ENDPOINTS.items() if endpoint.cached is not None)
RETRIED_PATHS = CACHED_PATHS | {path for path, endpoint in ENDPOINTS.items() if endpoint.is_retried}
# Fields that name something that the server keeps, or that others may change.
_STATE = ("session_id", "previous_response_id", "conversation", "background", "prompt_cache_key")
_FETCHED = re.compile(rb'"(?:url|image_url)"\s*:\s*"https?:', re.IGNORECASE)
_HEADERS = (b"accept", b"anthropic-version", b"anthropic-beta")
_MAX_KEY_CHARACTERS = 255

_encode = msgspec.json.Encoder(order="deterministic").encode


def idempotency_key(scope: Scope) -> str | None:
    """Raises BadRequest."""
    key = header(scope, b"idempotency-key")
    if key is not None and not 0 < len(key) <= _MAX_KEY_CHARACTERS:
        raise BadRequest(f"Idempotency-Key: 1 to {_MAX_KEY_CHARACTERS} characters", "Idempotency-Key")
    return key


def last_event_id(scope: Scope) -> int:
    """The number of the last event that the client has; 0: none. Raises BadRequest."""
    given = header(scope, b"last-event-id")
    if not given:
        return 0
    if not (given.isascii() and given.isdecimal() and len(given) <= 9):
        raise no_event()
    return int(given)


def no_event() -> BadRequest:
    return BadRequest("Last-Event-ID: must be the id of an event of this answer", "Last-Event-ID")


def directives(scope: Scope) -> frozenset[str]:
    """Of the request's Cache-Control."""
    given = (header(scope, b"cache-control") or "").split(",")
    return frozenset(word.strip().lower() for word in given)


def cacheable(path: str, body: bytes) -> dict[str, Any] | None:
    """The body, if equal requests have equal answers as long as the model is the same."""
    if path not in CACHED_PATHS or _FETCHED.search(body):
        return None
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("model"), str):
        return None
    if any(fields.get(name) for name in _STATE):
        return None
    if path == "/v1/responses" and fields.get("store") is not False:
        return None
    is_sampled = ENDPOINTS[path].cached == "sampled"
    return fields if not is_sampled or _is_deterministic(fields) else None


def _is_deterministic(fields: dict[str, Any]) -> bool:
    seed = fields.get("seed")
    is_seeded = isinstance(seed, int) and not isinstance(seed, bool)
    temperature = fields.get("temperature")
    return is_seeded or (temperature == 0 and temperature is not False)


def cache_key(scope: Scope, fields: dict[str, Any], caller: Any) -> bytes:
    """Equal for requests of one caller that differ only in white space and in the order of fields."""
    headers = [header(scope, name) for name in _HEADERS]
    return hashlib.sha256(_encode([scope["path"], headers, caller, fields])).digest()
