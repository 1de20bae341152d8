"""Which scope a request needs, if any. Pure.

Paths are as `http.paths.canonical` has them.
"""

from frontend.caller import Caller, Scope
from frontend.errors import Forbidden

PROBES = ("/health", "/ready")  # which carry no key
_BELOW_PROBES = ("/ready/",)
# Files of the package: a browser loads them, and then sends the key that its user types.
PAGES = ("/", "/page", "/docs", "/openapi.json")
_BELOW_PAGES = ("/page/", "/docs/")
SOCKETS_PATH = "/socket.io"  # its clients may send the key in the first message, which is checked then
# Paths that change the server or its store, or give engines unchecked work: everything below these folders,
# and these paths of Ollama's API.
ADMIN_FOLDERS = ("/admin", "/internal")
ADMIN_PATHS = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete")
METRICS = "/metrics"
# Lists of models and their state, which users and administrators both need.
_OVERVIEWS = ("/v1/models", "/api/tags", "/api/ps", "/api/version", "/v1/status")


def is_administration(path: str) -> bool:
    """Whether only administrators may use a path."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in ADMIN_FOLDERS) or (
        path in ADMIN_PATHS
    )


def is_open(path: str, method: str) -> bool:
    """Whether a request needs no key."""
    if path in PROBES or path.startswith(_BELOW_PROBES) or path == SOCKETS_PATH:
        return True
    if method not in ("GET", "HEAD") or "\\" in path or ".." in path.split("/"):
        return False
    return path in PAGES or path.startswith(_BELOW_PAGES)


def needed(path: str) -> tuple[Scope, ...]:
    """The scopes any one of which is enough; errors name the first."""
    if path == METRICS or path.startswith(f"{METRICS}/"):
        return ("metrics", "admin")
    if is_administration(path):
        return ("admin",)
    if path in _OVERVIEWS or path.startswith("/v1/models/"):
        return ("inference", "admin")
    return ("inference",)


def check_scope(caller: Caller, path: str) -> None:
    """Raises Forbidden, which names the scope that is missing."""
    scopes = needed(path)
    if not caller.scopes.isdisjoint(scopes):
        return
    if caller.by_token:
        why = f"this token lacks the scope {scopes[0]}; its claim scope must contain nacelle:{scopes[0]}"
    else:
        wanted = " ".join(f"--scope {scope}" for scope in sorted({*caller.scopes, scopes[0]}))
        why = (
            f"this API key lacks the scope {scopes[0]}; use one that has it (nacelle keys add NAME {wanted})"
        )
    raise Forbidden(why, key_id=caller.key_id)
