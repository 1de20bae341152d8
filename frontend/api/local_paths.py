"""Local paths are never accepted over HTTP: no client makes the server read files of its choice. Pure."""

import re

from frontend.errors import BadRequest
from frontend.shortened import quoted

# What a path is recognized by; names of models, of hubs' repositories, and URLs have none of it.
_PATH = re.compile(
    r"""
      [/~.\\]            # absolute, of a home, relative
    | [A-Za-z]:[\\/]     # of another system's drive
    | file:
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PARENT = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")


def is_local_path(text: str) -> bool:
    text = text.strip()
    return bool(_PATH.match(text)) or "\\" in text or bool(_PARENT.search(text)) or not text.isprintable()


def refuse_local_path(text: str, param: str) -> None:
    """Raises BadRequest naming the request's field."""
    if is_local_path(text):
        raise BadRequest(
            f"{param}: {quoted(text)} is a local path, which is not accepted over HTTP; "
            "on the server's machine, use nacelle pull or nacelle serve",
            param,
        )
