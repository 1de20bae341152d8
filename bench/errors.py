"""Every way in which a measurement can fail.

ClientError                one request failed; counted by its kind
├── ConnectFailed          no server listens at the address
├── ConnectionLost         the server closed the connection before the response was complete
├── DeadlineExceeded       the response took longer than the caller's deadline
├── MalformedResponse      the response is not HTTP
├── HttpError              a status of 400 or more, with its body
└── BadAnswer              a complete HTTP response without a complete completion
RunFailed                  no figure: a server did not start, or a request failed where none may
└── EngineFailed           the raw engine's process ended; its error output is on stderr
"""


class ClientError(Exception):
    """A request that failed. `kind` is its name in reports."""

    kind = "client_error"


class ConnectFailed(ClientError):
    kind = "connect_failed"


class ConnectionLost(ClientError):
    kind = "connection_lost"


class DeadlineExceeded(ClientError):
    kind = "deadline_exceeded"


class MalformedResponse(ClientError):
    kind = "malformed_response"


class HttpError(ClientError):
    """`body` is the server's own explanation."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"HTTP {status}: {body[:500].decode('utf-8', 'replace')}")
        self.status = status
        self.body = body
        self.kind = f"http_{status}"


class BadAnswer(ClientError):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RunFailed(Exception):
    """The measurement has no result."""


class EngineFailed(RunFailed):
    pass
