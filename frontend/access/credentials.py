"""Where a request carries its key: Authorization, X-Api-Key, or the subprotocol of a WebSocket. Pure."""

from collections.abc import Iterable

_KEY_PREFIX = "openai-insecure-api-key."  # of a subprotocol
_MAX_CHARACTERS = 16_384


def authorization_of(header: str | None, subprotocols: Iterable[str]) -> str | None:
    """The Authorization header, or its substitute in the handshake of a WebSocket: browsers cannot send the
    header there, so OpenAI's clients send the key as a subprotocol."""
    if header is not None:
        return header
    keys = (name.removeprefix(_KEY_PREFIX) for name in subprotocols if name.startswith(_KEY_PREFIX))
    key = next(keys, None)
    return None if key is None else f"Bearer {key}"


def secrets_in(authorization: str | None, x_api_key: str | None) -> list[str]:
    """Possible keys, the one in Authorization first."""
    scheme, _, token = (authorization or "").partition(" ")
    given = [token] if scheme.lower() == "bearer" else []
    given += [] if x_api_key is None else [x_api_key]
    return [secret for key in given if 0 < len(secret := key.strip(" \t")) <= _MAX_CHARACTERS]
