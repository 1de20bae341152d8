"""One HTTP/1.1 request and its response.

Commands must start fast: the standard library's client takes several times as long to import as httptools.
"""

import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import httptools

if TYPE_CHECKING:
    import ssl

_BLOCK = 65_536
_FINAL = 200  # the lowest status of a final response; 1xx precede it
_PLAIN = "/:?=&%+,~@!$'()*;[]"  # not percent-encoded in a request target


class BadResponse(Exception):
    """What arrived is not a response, or not a whole one."""


class NoResponse(BadResponse):
    """The head of a response did not arrive."""


class Response:
    """Reads one response; callbacks of httptools begin with `on_`."""

    def __init__(self, sock: socket.socket) -> None:
        """Wait for its head. Raises BadResponse, OSError."""
        self.status = 0
        self.reason = ""
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._has_begun = self._is_whole = self._is_delimited = False
        while not self._has_begun:
            self._receive()

    def read(self) -> bytes:
        """All of the body. Raises BadResponse, OSError."""
        return b"".join(self.blocks())

    def blocks(self) -> Iterator[bytes]:
        """The body as it arrives. Raises BadResponse, OSError."""
        while True:
            body, self._body = self._body, []
            yield from body
            if self._is_whole:
                return
            self._receive()

    def _receive(self) -> None:
        data = self._sock.recv(_BLOCK)
        if not data:
            self._end()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_whole:  # else it is about what follows the response
                raise (BadResponse if self._has_begun else NoResponse)(str(error)) from error

    def _end(self) -> None:
        """The server has closed the connection, which is how a body of unstated length ends."""
        if not self._has_begun:
            raise NoResponse("the connection was closed without a response")
        if self._is_delimited and not self._is_whole:
            raise BadResponse("the connection was closed before the end")
        self._is_whole = True

    def on_message_begin(self) -> None:
        if not self._is_whole:
            self.reason = ""

    def on_status(self, status: bytes) -> None:
        if not self._is_whole:
            self.reason += status.decode("latin-1")  # called once per piece

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.lower()
        self._is_delimited |= name == b"content-length" or (name, value) == (b"transfer-encoding", b"chunked")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL and not self._is_whole:
            self.status = status
            self._has_begun = True

    def on_body(self, body: bytes) -> None:
        if not self._is_whole:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_whole = self._has_begun


class Connection:
    """A connection for one request."""

    def __init__(self, host: str, port: int, tls: "ssl.SSLContext | None", seconds: float) -> None:
        """Connect. Raises OSError, which TLS's errors are too, and UnicodeError for an impossible host."""
        self._sock = socket.create_connection((host, port), seconds)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"[{host}]" if ":" in host else host.encode("idna").decode()
        if port != (80 if tls is None else 443):
            self._host += f":{port}"
        if tls is not None:
            plain = self._sock
            try:
                self._sock = tls.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], content: bytes | None, seconds: float
    ) -> Response:
        """`seconds`: the longest silence of the server. Raises BadResponse, OSError, and ValueError for a
        header that is more than a line."""
        self._sock.settimeout(seconds)
        lines = {"Host": self._host, **headers}
        if not all(value.isprintable() for value in lines.values()):
            raise ValueError("a header has control characters")
        if content is not None:
            lines["Content-Length"] = str(len(content))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        request = f"{method} {quote(target, safe=_PLAIN)} HTTP/1.1\r\n{head}\r\n"
        self._sock.sendall(request.encode() + (content or b""))
        return Response(self._sock)

    def close(self) -> None:
        self._sock.close()
