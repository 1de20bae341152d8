"""Tokenizes requests a few thousand characters at a time, so that the loop is never held for long."""

from collections import deque
from typing import NamedTuple

from host.engines.base import RequestRefused
from host.vectors.request import VectorRequest
from host.vectors.tokenizer import Tokenizer
from ipc.errors import ErrorCode

_STEP_CHARACTERS = 32 * 1024  # about 30 ms
_TURN_CHARACTERS = 8 * 1024  # of one request, before others have their turn


class _Turn(NamedTuple):
    """The next texts of a request."""

    request: VectorRequest
    texts: list[str]


class TextQueue:
    """Requests that are not tokenized yet. They take turns, and their texts share calls of the tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._requests: deque[VectorRequest] = deque()

    def __bool__(self) -> bool:
        return bool(self._requests)

    def add(self, request: VectorRequest) -> None:
        self._requests.append(request)

    def drop(self, request: VectorRequest) -> None:
        """Forget a request, if it is here."""
        if request in self._requests:
            self._requests.remove(request)

    def advance(self) -> tuple[list[VectorRequest], dict[int, RequestRefused]]:
        """Tokenize the next texts. Returns the requests that are tokenized now, which leave the queue, and
        the refusals by request id."""
        turns = self._take_turns()
        try:
            self._encode(turns)
            refused = {}
        except Exception:  # whichever text it was: find out
            refused = self._encode_one_by_one(turns)
        ready = []
        for turn in turns:
            if turn.request.tokenized:
                ready.append(turn.request)
            elif turn.request.request_id not in refused:
                self._requests.append(turn.request)
        return ready, refused

    def _take_turns(self) -> list[_Turn]:
        turns: list[_Turn] = []
        room = _STEP_CHARACTERS
        while self._requests and room > 0:
            request = self._requests.popleft()
            texts = _next_texts(request)
            turns.append(_Turn(request, texts))
            room -= sum(map(len, texts))
        return turns

    def _encode(self, turns: list[_Turn]) -> None:
        texts = [text for turn in turns for text in turn.texts]
        ids = iter(self._tokenizer.encode(texts) if texts else ())
        for turn in turns:
            turn.request.pieces += [next(ids) for _ in turn.texts]

    def _encode_one_by_one(self, turns: list[_Turn]) -> dict[int, RequestRefused]:
        refused = {}
        for turn in turns:
            try:
                self._encode([turn])
            except Exception:
                refusal = RequestRefused(ErrorCode.INVALID_VALUE, "a text cannot be tokenized", "input")
                refused[turn.request.request_id] = refusal
        return refused


def _next_texts(request: VectorRequest) -> list[str]:
    """At least one text, if any is left."""
    begin = end = len(request.pieces)
    room = _TURN_CHARACTERS
    while end < len(request.texts) and room > 0:
        room -= len(request.texts[end]) + 1
        end += 1
    return request.texts[begin:end]
