"""What the loop asks of an engine, and how an engine says no."""

from typing import Protocol

from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Accepted,
    ChatPrompt,
    Detokenized,
    Gauges,
    InlinePrompt,
    ModelCard,
    Sampling,
    ToFrontend,
    Tokenized,
)


class RequestRefused(Exception):
    """One request cannot be served; nothing else is affected."""

    def __init__(self, code: ErrorCode, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.error = RequestError(code, message, param)


def context_length_exceeded(limit: int, asked: str, param: str) -> RequestRefused:
    """In OpenAI's words, by which clients know the error. `limit` is in tokens; `asked` ends the sentence."""
    message = f"This model's maximum context length is {limit} tokens. However, {asked}."
    return RequestRefused(ErrorCode.CONTEXT_LENGTH_EXCEEDED, message, param)


class EngineLost(Exception):
    """The engine cannot go on and its process must end. The text is for the operator."""


def prompt_param(prompt: InlinePrompt) -> str:
    """The name of the parameter that this kind of prompt came in, for errors."""
    return "messages" if isinstance(prompt, ChatPrompt) else "prompt"


class Engine(Protocol):
    """A loaded model. Used from one thread only; no call but `step` may take long."""

    card: ModelCard

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""

    def admit(
        self, request_id: int, prompt: InlinePrompt, sampling: Sampling, resume_token_ids: list[int]
    ) -> Accepted:
        """Check a request and take it in, to go on after `resume_token_ids`. Raises RequestRefused.

        What it returns holds the prompt's token ids, if it has any.
        """

    def tokenize(self, request_id: int, prompt: InlinePrompt) -> Tokenized:
        """Raises RequestRefused."""

    def detokenize(self, request_id: int, token_ids: list[int], skip_special_tokens: bool) -> Detokenized:
        """Raises RequestRefused."""

    def cancel(self, request_id: int) -> None:
        """Forget a request. Unknown ids are ignored."""

    def step(self) -> list[ToFrontend]:
        """Advance all requests, mostly by one token, and return what to send, in order.

        A request's last Delta comes before its Completed. Raises EngineLost.
        """

    def gauges(self) -> Gauges: ...

    def poison(self, request_id: int) -> None:
        """Make a coming `step` fail because of this request: for fault injection."""
