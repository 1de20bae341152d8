"""Opens files on the web for `transfer`, with Range and If-Range, and explains what servers answer."""

import base64
import contextlib
import http.client
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import IO
from urllib.parse import urlsplit

from frontend.models.errors import SourceError
from frontend.models.sources.retries import TRANSIENT_STATUSES, Transient, retry_after
from frontend.models.sources.transfer import Digest, Open, Opened
from frontend.shortened import shown_source

_TIMEOUT_SECONDS = 30.0  # of one connect or read, not of the whole download
_PARTIAL_CONTENT, _NOT_MODIFIED, _RANGE_NOT_SATISFIABLE = 206, 304, 416
_PROXY = "behind a proxy, set https_proxy"
REMEDIES: Mapping[int, str] = {
    401: "the server requires credentials",
    403: "the server does not allow it",
    404: "nothing is there; correct the URL",
    407: "the proxy requires credentials: https_proxy=http://USER:PASSWORD@HOST:PORT",
    410: "it is gone; choose another source",
    451: "it is not available for legal reasons",
}

Explain = Callable[[int, Message], str]


class SameHostRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to HTTP, and sends credentials to the first host only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and _origin(req.full_url) != _origin(newurl):
            request.remove_header("Authorization")
        return request


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


_opener = urllib.request.build_opener(SameHostRedirects)


def open_url(
    url: str, headers: Mapping[str, str] | None = None, explain: Explain | None = None, *, html: bool = True
) -> Open:
    """How `transfer` opens a URL. `explain` gives the remedy for an HTTP status, in place of ours.

    Without `html`, a web page is refused: it is what servers show instead of a file.
    """
    fixed = {"User-Agent": "nacelle", "Accept-Encoding": "identity", **(headers or {})}

    @contextmanager
    def open_at(offset: int, validator: str) -> Iterator[Opened]:
        asked = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and validator:
            asked["If-Range"] = validator
        request = urllib.request.Request(url, headers=fixed | asked)  # noqa: S310 - http(s) only
        with requests_explained(explain):
            try:
                response = _opener.open(request, timeout=_TIMEOUT_SECONDS)
            except urllib.error.HTTPError as error:
                if error.code != _RANGE_NOT_SATISFIABLE or not offset:
                    raise
                error.close()
                response = _whole(error, offset) or _opener.open(
                    urllib.request.Request(url, headers=fixed),  # noqa: S310
                    timeout=_TIMEOUT_SECONDS,
                )
            if isinstance(response, Opened):
                yield response
                return
            with response:
                yield _opened(response, offset, url, html=html)

    return open_at


def basic_authorization(credentials: str) -> dict[str, str]:
    """The header for USER:PASSWORD; none if that is empty."""
    if not credentials:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


class _Nothing:
    def read(self, _: int, /) -> bytes:
        return b""


def _whole(error: urllib.error.HTTPError, offset: int) -> Opened | None:
    """A range that begins at the end of the file: all of it is there."""
    match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    return (
        Opened(_Nothing(), offset, offset, validator_of(error.headers))
        if match and int(match[1]) == offset
        else None
    )


def _opened(response: http.client.HTTPResponse, offset: int, url: str, *, html: bool) -> Opened:
    headers = response.headers
    if not html and headers.get_content_type() == "text/html":
        raise SourceError(f"{shown_source(url)} is a web page, not a file; name the URL of the file itself")
    start, total = 0, response.length
    if offset and response.status == _PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise SourceError(f"{urlsplit(url).hostname} answers with other bytes than were asked for")
        start, total = offset, None if match[2] == "*" else int(match[2])
    return Opened(response, start, total, validator_of(headers), digest_of(headers))


def validator_of(headers: Message) -> str:
    """What If-Range may name: a strong ETag, else the date of the last change; empty if there is none."""
    etag = headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return str(headers.get("Last-Modified", ""))


def digest_of(headers: Message) -> Digest | None:
    """The checksum of the whole file that the headers state."""
    fields: dict[str, str] = {}
    for name in ("Repr-Digest", "x-goog-hash"):
        for value in headers.get_all(name, []):
            for part in str(value).split(","):
                kind, _, text = part.strip().partition("=")
                fields.setdefault(kind.lower(), text.strip(":"))
    for field, kind, size in (("sha-256", "sha256", 32), ("md5", "md5", 16)):
        with contextlib.suppress(ValueError):
            raw = base64.b64decode(fields.get(field, ""), validate=True)
            if len(raw) == size:
                return Digest(kind, raw.hex())
    return None


@contextmanager
def requests_explained(explain: Explain | None = None) -> Iterator[None]:
    """Turns what urllib raises into Transient and SourceError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        remedy = (explain(error.code, error.headers) if explain else "") or REMEDIES.get(error.code, "")
        text = f"HTTP status {error.code}" + (f": {remedy}" if remedy else "")
        if error.code in TRANSIENT_STATUSES:
            after = retry_after(error.headers.get("Retry-After"), time.time())
            raise Transient(text, after) from error
        raise SourceError(text) from error
    except urllib.error.URLError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error.reason):
            raise SourceError(
                f"its certificate is not trusted: {error.reason}; set SSL_CERT_FILE to your authority's"
            ) from error
        if not isinstance(error.reason, OSError):  # such as an unknown scheme after a redirect
            raise SourceError(str(error.reason)) from error
        hint = f"; {_PROXY}" if isinstance(error.reason, socket.gaierror | TimeoutError) else ""
        raise Transient(f"no connection: {error.reason}{hint}") from error
    except http.client.InvalidURL as error:  # whose text quotes the query
        raise SourceError("that is no valid URL; write blanks and the like as %20") from error
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise Transient(f"the connection broke: {error or type(error).__name__}") from error
    except ValueError as error:  # urllib's word for a URL that is none
        raise SourceError(str(error)) from error
