"""Answers of the server itself, to what never becomes a request of the application."""

import logging
from typing import NamedTuple

import httptools
import msgspec

from frontend.errors import BadRequest
from frontend.http.bounds import TooLarge
from frontend.http.error_body import error_body
from frontend.observability.logs import BRIEF

log = logging.getLogger("nacelle.access")


class Refusal(NamedTuple):
    """A status line's status, such as `400 Bad Request`, and the reason for it."""

    status: str
    why: str

    def answer(self) -> bytes:
        """The whole response, after which the connection is closed."""
        body = msgspec.json.encode(error_body(BadRequest(self.why)))
        head = (
            f"HTTP/1.1 {self.status}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body

    def report(self, client: str | None) -> None:
        """Log it like a request, of which neither method nor path is known. `client` is an address."""
        brief = f"{self.why} {client}" if client else self.why
        extra = {BRIEF: brief, "outcome": BadRequest.code, "reason": self.why, "client": client}
        log.info("- - %s", self.status.partition(" ")[0], extra=extra)


INCOMPLETE = Refusal("408 Request Timeout", "the rest of the request did not arrive")
NOT_A_PROXY = Refusal("400 Bad Request", "this is not a proxy")


def refusal_of(error: TooLarge | httptools.HttpParserError) -> Refusal:
    """For what the parser, or a bound that a callback of it checks, raised."""
    cause = error if isinstance(error, TooLarge) else error.__context__
    if isinstance(cause, TooLarge):
        return Refusal("431 Request Header Fields Too Large", str(cause))
    return Refusal("400 Bad Request", f"not an HTTP request: {error}")
