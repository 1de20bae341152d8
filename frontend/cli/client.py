"""An HTTP client for the commands that talk to a server: JSON, and streams of server-sent events."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from frontend.cli.address import Address
from frontend.cli.connection import BadResponse, Connection, NoResponse, Response
from frontend.shortened import shortened, shown_path

if TYPE_CHECKING:
    import ssl

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 120.0  # silence of a server that sends a comment at least every few seconds
_SHOWN_CHARACTERS = 1000  # of an error that is not from Nacelle
_HIDDEN_FIELDS = ("model", "source")  # of a request's body, which the user did not write
_MAX_LINE = 64 * 1024**2  # bytes of one event


class NoServer(click.ClickException):
    """Nobody answers at the address."""

    def __init__(self, address: Address, reason: str = "") -> None:
        remedy = "check --url" if address.named else "start one: nacelle serve MODEL"
        super().__init__(
            f"no server answers at {shown_path(address.url)}{reason and f' ({reason})'}; {remedy}"
        )


class Refused(click.ClickException):
    """The server answered with an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Lost(click.ClickException):
    """The connection ended before the answer did, or is not to be trusted."""


class Client:
    """Talks to one server. Every call raises NoServer, Refused or Lost."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def get(self, path: str, seconds: float = _READ_SECONDS) -> Any:
        return self._json("GET", path, None, seconds)

    def post(self, path: str, body: Any, seconds: float = _READ_SECONDS) -> Any:
        """`seconds` is the longest silence of the server."""
        return self._json("POST", path, body, seconds)

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path, None, _READ_SECONDS)

    def events(self, method: str, path: str, body: Any = None) -> Generator[Any, None, None]:
        """The decoded data of each event, until the stream or `[DONE]`. Closing the iterator hangs up."""
        connection = self._connect()
        try:
            response = self._ask(connection, method, path, body, _READ_SECONDS)
            for data in _event_data(_lines(response)):
                if data == b"[DONE]":
                    return
                event = msgspec.json.decode(data)
                if isinstance(event, dict) and isinstance(event.get("error"), dict):
                    raise _refused(200, event)
                yield event
        except (OSError, BadResponse, ValueError, RecursionError) as error:
            raise Lost(f"the server at {self.address.url} broke off its answer: {_reason(error)}") from error
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Any, seconds: float) -> Any:
        connection = self._connect()
        try:
            response = self._ask(connection, method, path, body, seconds)
            content = response.read()
            return msgspec.json.decode(content) if content else None
        except (OSError, BadResponse) as error:
            raise Lost(f"the server at {self.address.url} did not answer: {_reason(error)}") from error
        except (ValueError, RecursionError) as error:
            raise Lost(f"what answers at {self.address.url} is not Nacelle; check --url") from error
        finally:
            connection.close()

    def _connect(self) -> Connection:
        address = self.address
        tls = _trusted(address) if address.scheme == "https" else None
        try:
            return Connection(address.host, address.port, tls, _CONNECT_SECONDS)
        except (OSError, UnicodeError) as error:
            if address.scheme == "https" and (problem := _tls_problem(error, address)):
                raise Lost(problem) from error
            refused = isinstance(error, ConnectionRefusedError)
            raise NoServer(address, "" if refused else _reason(error)) from error

    def _ask(self, connection: Connection, method: str, path: str, body: Any, seconds: float) -> Response:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.address.api_key:
            headers["Authorization"] = f"Bearer {self.address.api_key}"
        content = None if body is None else msgspec.json.encode(body)
        try:
            response = connection.ask(method, self.address.path + path, headers, content, seconds)
        except (NoResponse, ConnectionError) as error:  # also what a port for HTTPS does
            problem = f"the server at {self.address.url} did not answer: {_reason(error)}"
            raise Lost(problem + _https_hint(self.address)) from error
        except ValueError as error:
            raise click.ClickException(f"api_key: {error}; correct NACELLE_API_KEY") from error
        if response.status >= 400:
            raise _error_of(response, self.address)
        return response


def _trusted(address: Address) -> "ssl.SSLContext":
    """The server of the settings must have their certificate, whatever name that is for; that of an address
    that was given, one that this machine trusts. Raises ClickException."""
    import ssl  # slow to import, and needed only here

    if address.named or address.settings.tls_certificate is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is enough
    path = Path(address.settings.tls_certificate).expanduser()
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise click.ClickException(
            f"tls_certificate: cannot read {path}: {_reason(error)}; "
            "name the certificate of the server in PEM"
        ) from error
    return context


def _https_hint(address: Address) -> str:
    if address.scheme == "https":
        return ""
    if address.named:
        return f"; if it speaks HTTPS, use {address._replace(scheme='https').url}"
    return "; if it speaks HTTPS, set NACELLE_TLS_CERTIFICATE to its certificate"


def _tls_problem(error: Exception, address: Address) -> str:
    """What to do about an error of the handshake; empty for other errors."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "tls_certificate must be the certificate with which the server was started"
        if address.named:
            remedy = (
                "name the certificate of its authority in SSL_CERT_FILE, and use a host name that it is for"
            )
        return f"the certificate of {address.url} is not trusted ({error.verify_message}); {remedy}"
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        plain = address._replace(scheme="http").url
        remedy = f"use {plain}" if address.named else "start it with tls_certificate, or unset that here"
        return f"the server at {address.url} does not speak HTTPS; {remedy}"
    return ""


def segment(name: str) -> str:
    """A model's name as part of a path."""
    return quote(name, safe="/:")


def _error_of(response: Response, address: Address) -> Refused:
    try:
        body = msgspec.json.decode(response.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or "error" not in body:
        remedy = "check --url" if address.named else "is the port another program's? NACELLE_PORT sets ours"
        status = f"{response.status} {response.reason}".strip()
        return Refused(response.status, f"{address.url} answered {status}, which Nacelle does not; {remedy}")
    refused = _refused(response.status, body)
    if response.status == 401 and address.api_key:
        message = (
            "the server does not accept this API key; correct NACELLE_API_KEY, or api_key in the settings"
        )
        return Refused(401, message, refused.code)
    if response.status == 401:
        return Refused(
            401, "the server requires an API key; set NACELLE_API_KEY to one that it knows", refused.code
        )
    return refused


def _refused(status: int, body: dict[str, Any]) -> Refused:
    error = body["error"]
    if isinstance(error, dict):
        message = str(error.get("message"))
        if (field := error.get("param")) in _HIDDEN_FIELDS:
            message = message.removeprefix(f"{field}: ")
        return Refused(status, message, error.get("code"))
    return Refused(status, shortened(str(error), _SHOWN_CHARACTERS))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _lines(response: Response) -> Iterator[bytes]:
    """Lines as soon as they are complete."""
    rest = b""
    for block in response.blocks():
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE:
            raise BadResponse("an event is too long")


def _event_data(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The data of events of one line each, as Nacelle and OpenAI send them. Comments are left out."""
    for line in lines:
        name, _, value = line.rstrip(b"\r").partition(b":")
        if name == b"data":
            yield value.strip()
