"""Asks a question and shows the answer while it arrives."""

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple, TextIO

import msgspec

from frontend.cli.client import Client, Lost
from frontend.cli.running.conversation import Conversation
from frontend.cli.styles import styled
from frontend.cli.waiting import Waiting

PATH = "/v1/chat/completions"

# An answer must not control the terminal.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Answer(msgspec.Struct):
    """What has arrived of an answer."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    seconds_to_first_token: float | None = None
    seconds: float = 0.0

    @property
    def statistics(self) -> str:
        """Tokens and speed for people; empty if the server reported no usage."""
        if not self.usage:
            return ""
        prompt, tokens = self.usage.get("prompt_tokens", 0), self.usage.get("completion_tokens", 0)
        first = self.seconds_to_first_token or 0.0
        rate = (tokens - 1) / (self.seconds - first) if tokens > 1 and self.seconds > first else 0.0
        speed = f", {rate:.1f} tokens/s" if rate else ""
        return f"{prompt} prompt tokens, {tokens} tokens, first after {first:.2f} s{speed}"


def ask(
    client: Client, conversation: Conversation, question: dict[str, Any], waiting_for: str = ""
) -> Answer:
    """Ask, print the answer while it arrives, and remember both. At Ctrl-C, KeyboardInterrupt passes after
    the server was told by hanging up."""
    answer = Answer()
    printer = Printer(sys.stdout, thoughts_to(conversation.parameters.think, sys.stdout))
    chunks = client.events("POST", PATH, conversation.body(question))
    with Waiting(waiting_for) as waiting, closing(pieces(chunks, answer)) as arriving:
        try:
            for piece in arriving:
                waiting.end()
                printer.show(piece)
        finally:
            waiting.end()
            printer.end()
            conversation.keep(question, answer.text)
    return answer


class Piece(NamedTuple):
    """A part of an answer."""

    text: str
    is_reasoning: bool


def pieces(
    chunks: Generator[Any, None, None], answer: Answer, clock: Callable[[], float] = time.monotonic
) -> Generator[Piece, None, None]:
    """The parts of a streamed chat completion, which are collected in `answer`, also if that is interrupted.

    Hangs up when closed. Raises Lost if the stream ends before the answer does.
    """
    began = clock()
    with closing(chunks):
        try:
            for chunk in chunks:
                answer.usage = chunk.get("usage") or answer.usage
                for choice in chunk.get("choices", ()):
                    answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
                    for piece in _pieces_of(choice.get("delta") or {}):
                        if answer.seconds_to_first_token is None:
                            answer.seconds_to_first_token = clock() - began
                        if piece.is_reasoning:
                            answer.reasoning += piece.text
                        else:
                            answer.text += piece.text
                        yield piece
        finally:
            answer.seconds = clock() - began
    if answer.finish_reason is None:
        raise Lost("the server broke off its answer; see its log")


def _pieces_of(delta: Mapping[str, Any]) -> Iterator[Piece]:
    for field, is_reasoning in (("reasoning_content", True), ("content", False)):
        if text := delta.get(field):
            yield Piece(text, is_reasoning)


class Printer:
    """Writes an answer to `out`: in a terminal with dimmed reasoning, elsewhere its text only.

    `thoughts` is where reasoning goes; None hides it.
    """

    def __init__(self, out: TextIO, thoughts: TextIO | None) -> None:
        self._out = out
        self._thoughts = thoughts
        self._controls = _CONTROLS if out.isatty() else {}
        self._begun = self._thinking = False
        self._last = ""

    def show(self, piece: Piece) -> None:
        if piece.is_reasoning:
            self._reasoning(piece.text)
        else:
            self._text(piece.text)

    def _text(self, text: str) -> None:
        if self._thinking and self._thoughts is not None:
            self._thinking = False
            _write(self._thoughts, "\n\n")
        if not self._begun:
            text = text.lstrip("\n")  # models begin with empty lines
        if text:
            self._begun, self._last = True, text[-1]
            _write(self._out, text.translate(self._controls))

    def _reasoning(self, text: str) -> None:
        if self._thoughts is not None:
            self._thinking = True
            _write(self._thoughts, styled(text.translate(_CONTROLS), "dim", self._thoughts))

    def end(self) -> None:
        """End the line."""
        if self._thinking or (self._begun and self._last != "\n"):
            _write(self._out, "\n")
        self._begun = self._thinking = False


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def thoughts_to(think: bool | None, out: TextIO) -> TextIO | None:
    """Where reasoning is shown: in a terminal unless it is hidden, elsewhere beside the answer if wanted."""
    if think is False:
        return None
    return out if out.isatty() else sys.stderr if think else None
