"""What the loop asks of an engine, and how an engine refuses."""

from typing import Protocol, runtime_checkable

from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed, Gauges, ModelCard, Reply, Work
from ipc.progress import ProgressWriter

Body = bytes | memoryview  # of a work message: its payload, readable during the call only


class RequestRefused(Exception):
    """One request cannot be served; nothing else is affected."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        param: str | None = None,
        sizes: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.error = RequestError(code, message, param, sizes)


def invalid(message: str, param: str) -> RequestRefused:
    """For a value that cannot be served. `param` names its field."""
    return RequestRefused(ErrorCode.INVALID_VALUE, message, param)


def context_length_exceeded(limit: int, asked: str, param: str, tokens: int | None = None) -> RequestRefused:
    """In OpenAI's words, by which clients know the error. `limit` is in tokens; `asked` ends the sentence.

    `tokens` are those of the prompt, or a lower bound.
    """
    message = f"This model's maximum context length is {limit} tokens. However, {asked}."
    sizes = None if tokens is None else (tokens, limit)
    return RequestRefused(ErrorCode.CONTEXT_LENGTH_EXCEEDED, message, param, sizes)


def not_served(work: Work) -> RequestRefused:
    """For work of a task that is not the engine's."""
    kind = type(work).__name__.lower()
    return invalid(f"this model does not serve {kind} requests", "model")


class EngineLost(Exception):
    """The engine cannot continue and its process must end. The text is for the operator."""


class EngineStarved(EngineLost):
    """It had too little CPU for too long, so that what it was computing may be innocent."""


class Engine(Protocol):
    """A loaded model. Used from one thread only; no call but `step` may take long."""

    card: ModelCard

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""

    def submit(self, work: Work, body: Body) -> list[Reply]:
        """Check a request and take it in. Returns what is known at once, which may already end it.

        `body` is the work's payload. Raises RequestRefused.
        """

    def cancel(self, request_id: int) -> None:
        """Forget a request. Unknown ids are ignored."""

    def step(self) -> list[Reply | Failed]:
        """Advance all requests by one unit of work and return what to send, in order. Raises EngineLost."""

    def gauges(self) -> Gauges: ...


@runtime_checkable
class ReportsPhases(Protocol):
    """An engine with calls that take longer than a step may: the progress page has another phase for them."""

    def report_to(self, progress: ProgressWriter) -> None:
        """Called once, when the engine is loaded."""
