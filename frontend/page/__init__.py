"""The page at `/`: plain files, read once and served from memory."""

import hashlib
from collections.abc import Iterable
from importlib import resources

import msgspec

INDEX = "index.html"
DOCS = "docs.html"
# Every file of the page. Whatever is not named here is not served.
FILES = (
    INDEX,
    DOCS,
    "docs.css",
    "docs.js",
    "page.css",
    "icon.svg",
    "theme.js",
    "page.js",
    "api.js",
    "audio.js",
    "chat.js",
    "dom.js",
    "downloads.js",
    "images.js",
    "incidents.js",
    "key.js",
    "live.js",
    "markdown.js",
    "models.js",
    "requests.js",
    "settings.js",
    "turns.js",
)
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Scripts, styles and requests of this server alone, and nothing inline. Attached images are data URLs, and
# speech is played from a blob.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",  # a new release shows at once; the ETag saves the transfer
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that ignore frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class File(msgspec.Struct, frozen=True):
    """A file as it is served."""

    data: bytes
    media_type: str
    etag: str  # without quotation marks


def load(names: Iterable[str] = FILES) -> dict[str, File]:
    """The files by name. Raises OSError where the installation lacks one."""
    folder = resources.files(__name__)
    return {name: _file(name, folder.joinpath(name).read_bytes()) for name in names}


def _file(name: str, data: bytes) -> File:
    return File(data, _MEDIA_TYPES[name.rpartition(".")[2]], hashlib.sha256(data).hexdigest()[:32])
