"""Text of clients and operators, as messages and logs quote it."""

import re
from urllib.parse import urlsplit

VALUE_CHARACTERS = 60  # of a setting's name or value
PATH_CHARACTERS = 120


def shortened(text: str, characters: int) -> str:
    """At most `characters` characters: a longer text is cut and ends in an ellipsis."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def quoted(text: str) -> str:
    """A setting's name or value in quotes, cut if it is long."""
    return repr(shortened(text, VALUE_CHARACTERS))


def shown_path(path: object) -> str:
    """A path or another source, cut if it is long."""
    return shortened(str(path), PATH_CHARACTERS)


def shown_source(source: str) -> str:
    """A URL without user, password, query and fragment, which may be secrets; any other text as it is."""
    scheme, colon, rest = source.partition("://")
    if not colon:
        return source
    place = re.match(r"[^/?#]*", rest)
    assert place is not None  # it matches anything
    try:
        is_sound = "@" in place[0] or urlsplit(f"//{place[0]}").port is not None or ":" not in place[0]
    except ValueError:
        is_sound = place[0].startswith("[")
    end = place.end() if is_sound else len(rest)  # a password with a slash looks like a port
    netloc = rest[:end].rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', netloc + rest[end:], maxsplit=1)[0]}"


def without_secrets(text: str, source: str) -> str:
    """A message about a URL, perhaps of a library, without what `shown_source` leaves out."""
    text = text.replace(source, shown_source(source))
    _, colon, rest = source.partition("://")
    if not colon:
        return text
    credentials, _, _ = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")
    query = rest.partition("#")[0].partition("?")[2]
    for secret in (credentials, credentials.partition(":")[2], query):
        if len(secret) > 3:
            text = text.replace(secret, "…")
    return text
