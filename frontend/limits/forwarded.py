"""Charges requests that other servers answer for their tokens: as estimated before, as reported afterwards.

Where an answer reports no tokens, those of a stream are counted by its events, and the estimate stays for
any other.
"""

import re
from typing import Any

import msgspec

from frontend.caller import Caller
from frontend.limits.quotas import Quotas
from frontend.routing.choice import ASSUMED_OUTPUT_TOKENS, CHARACTERS_PER_TOKEN
from frontend.usage import TokenUsage, usage_of, usage_of_event

_GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
_COUNTED = (*_GENERATING, "/v1/embeddings", "/v1/rerank")
_MAX_READ_BYTES = 16 * 1024**2  # of an answer that is no stream
# Images and sounds in base64, which are no text. Only at the beginning of a run, or runs that are too short
# would be read again from each of their characters.
_MEDIA = re.compile(rb"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{512,}")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


class _Most(msgspec.Struct):
    """How much may be generated, by the names of all APIs."""

    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None


class ReadAnswer:
    """What an answer says of its tokens."""

    def __init__(self, is_stream: bool) -> None:
        self.is_stream = is_stream
        self.events = 0
        self.usage: TokenUsage | None = None
        self._whole: list[bytes] = []
        self._size = 0

    def take(self, part: bytes) -> None:
        """The next bytes; of a stream, whole events."""
        if not self.is_stream:
            self._size += len(part)
            if self._size <= _MAX_READ_BYTES:
                self._whole.append(part)
            return
        self.events += part.startswith(b"data:") + part.count(b"\ndata:")
        if _USAGE.search(part):
            for line in part.splitlines():
                if line.startswith(b"data:") and (usage := usage_of_event(line.removeprefix(b"data:"))):
                    self.usage = _later(self.usage, usage)

    def end(self) -> None:
        """It is complete."""
        if not self.is_stream and self._size <= _MAX_READ_BYTES:
            self.usage = usage_of(b"".join(self._whole))
        self._whole.clear()


class Forwarded:
    """One request. `answer` is set once a server answers it with success."""

    def __init__(self, quotas: Quotas, caller: Caller, path: str, body: bytes) -> None:
        """Raises RateLimited."""
        self.answer: ReadAnswer | None = None
        self._quotas = quotas
        self._caller = caller
        self._is_charged = path in _COUNTED and quotas.limits_tokens(caller)
        self._prompt = self._taken = 0
        if self._is_charged:
            self._prompt, most = _estimated(path, body)
            certain, assumed = self._prompt + (most or 0), ASSUMED_OUTPUT_TOKENS if most is None else 0
            self._taken = quotas.reserve(caller, certain, assumed)

    def end(self, *, left: bool) -> None:
        """Settle the charge, once. `left`: the client left before the answer ended."""
        if self._is_charged:
            self._is_charged = False
            self._quotas.use(self._caller, self._used(left) - self._taken)

    def _used(self, left: bool) -> int:
        answer = self.answer
        if answer is None:
            return self._taken if left else 0  # nobody knows how far that server got
        if answer.usage is not None:
            return answer.usage.input_tokens + answer.usage.output_tokens
        return self._prompt + answer.events if answer.is_stream else self._taken


def _estimated(path: str, body: bytes) -> tuple[int, int | None]:
    """Tokens of the prompt, and at most of the answer, if that is known."""
    media = sum(len(found[0]) for found in _MEDIA.finditer(body))
    prompt = (len(body) - media) // CHARACTERS_PER_TOKEN
    if path not in _GENERATING:
        return prompt, 0
    try:
        most = msgspec.json.decode(body, type=_Most)
    except (ValueError, RecursionError):
        return prompt, None
    given = (most.max_completion_tokens, most.max_output_tokens, most.max_tokens)
    return prompt, next((limit for limit in given if type(limit) is int and limit >= 0), None)


def _later(before: TokenUsage | None, after: TokenUsage) -> TokenUsage:
    """Counts of a stream grow, and events may leave out those of the prompt."""
    if before is None:
        return after
    names = TokenUsage.__struct_fields__
    return TokenUsage(**{name: max(getattr(before, name), getattr(after, name)) for name in names})
