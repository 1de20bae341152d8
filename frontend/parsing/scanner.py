"""Incremental parsing with generators that suspend while they wait for more text.

A program is a generator that reads from a Scanner. It yields whenever it needs more text, and continues when
more has arrived or the text has ended. No text is read twice, so the work is linear in its length. A program
that uses only the methods of Scanner cannot observe how the text was split.
"""

import re
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

from frontend.parsing.events import CallArguments, CallBegun, Content, Event, Reasoning
from frontend.parsing.marks import Marks

T = TypeVar("T")
Reading = Generator[None, None, T]
Sink = Callable[[str], Any]  # receives the text that was read, in pieces

_NEWLINES = re.compile(r"[\r\n]*")
_SPACE = re.compile(r"[ \t\r\n]*")


class Malformed(Exception):
    """The text is not what it seemed to begin. The offending character has not been read yet."""


class Scanner:
    """The text so far, a position in it, and the events found."""

    def __init__(self) -> None:
        self.ended = False
        self._text = ""
        self._at = 0
        self._sunk = 0  # the sink has received the text before this position
        self._sink: Sink = self.drop
        self._held: list[str] | None = None
        self._events: list[Event] = []
        self._calls = 0
        self._before = 0  # characters that were read and dropped before `_text`
        self.content_spans: list[list[int]] | None = None  # in the whole text, where they are wanted

    # --- the outer side -----------------------------------------------------------------------------

    def put(self, piece: str) -> None:
        self._pour()
        self._text = self._text[self._at :] + piece
        self._before += self._at
        self._at = self._sunk = 0

    def drain(self) -> list[Event]:
        self._pour()
        events, self._events = self._events, []
        return events

    # --- sinks --------------------------------------------------------------------------------------

    def drop(self, text: str) -> None: ...

    def content(self, text: str) -> None:
        self._events.append(Content(text))
        if self.content_spans is not None:
            end = self._before + self._sunk
            self._note(end - len(text), end)

    def _note(self, start: int, end: int) -> None:
        """A span of content, which may go on with the last one."""
        spans = self.content_spans
        assert spans is not None, "somebody wants them"
        if spans and spans[-1][1] == start:
            spans[-1][1] = end
        else:
            spans.append([start, end])

    def reasoning(self, text: str) -> None:
        self._events.append(Reasoning(text))

    def begin_call(self, name: str) -> Sink:
        """Emit the beginning of a call, and return the sink of its arguments."""
        index = self._calls
        self._calls += 1
        self._events.append(CallBegun(index, name))
        return partial(self._arguments, index)

    def _arguments(self, index: int, text: str) -> None:
        self._events.append(CallArguments(index, text))

    def into(self, sink: Sink) -> None:
        """Send the text that is read from here on to `sink`."""
        self._pour()
        self._sink = sink

    def _pour(self) -> None:
        if self._sunk < self._at:
            piece = self._text[self._sunk : self._at]
            self._sunk = self._at
            self._sink(piece)
            if self._held is not None:
                self._held.append(piece)

    # --- attempts -----------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep the text that is read from here on, as it may have to be given back."""
        self._pour()
        self._held = []

    def release(self) -> None:
        """Discard the held text, which has been recognized."""
        self._pour()
        self._held = None

    def give_back(self) -> None:
        """Emit the held text as content, unchanged."""
        self._pour()
        held, self._held = "".join(self._held or ()), None
        if held:
            self.content(held)

    # --- reading ------------------------------------------------------------------------------------

    def peek(self) -> Reading[str]:
        """The next character; empty at the end of the text."""
        while self._at == len(self._text):
            if self.ended:
                return ""
            yield
        return self._text[self._at]

    def advance(self) -> None:
        """Read the character that `peek` returned."""
        self._at += 1

    def run(self, pattern: re.Pattern[str]) -> Reading[None]:
        """Read the longest run of a class of characters, possibly empty. `pattern` is `[…]*`."""
        while True:
            found = pattern.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text) or self.ended:
                return
            yield

    def space(self) -> Reading[None]:
        return self.run(_SPACE)

    def newlines(self) -> Reading[None]:
        return self.run(_NEWLINES)

    def word(self, pattern: re.Pattern[str]) -> Reading[str]:
        """Read and return a run of a class of characters."""
        parts: list[str] = []
        self.into(parts.append)
        yield from self.run(pattern)
        self.into(self.drop)
        return "".join(parts)

    def literal(self, *options: str) -> Reading[str | None]:
        """Read and return the option that follows, if any."""
        longest = max(map(len, options))
        while True:
            there = self._text[self._at : self._at + longest]
            for option in options:
                if there.startswith(option):
                    self._at += len(option)
                    return option
            if self.ended or not any(option.startswith(there) for option in options):
                return None
            yield

    def expect(self, *options: str) -> Reading[str]:
        """Read and return the option that follows. Raises Malformed if there is none."""
        found = yield from self.literal(*options)
        if found is None:
            raise Malformed
        return found

    def close(self, *marks: str) -> Reading[None]:
        """Read one of `marks`, or a prefix of one at the end of the text. Raises Malformed."""
        if (yield from self.literal(*marks)) is None:
            rest = self._text[self._at :]
            if not self.ended or not any(mark.startswith(rest) for mark in marks):
                raise Malformed
            self._at = len(self._text)

    def opens_with(self, marks: Marks) -> Reading[bool]:
        """Read a mark that follows, with the newlines around it. False if none follows."""
        while (found := marks.match(self._text, self._at)) is None:
            if self.ended or not marks.begin_at(self._text, self._at):
                return False
            yield
        self.into(self.drop)
        self._at = found.end()
        yield from self.newlines()
        return True

    def until(self, marks: Marks, sink: Sink) -> Reading[str | None]:
        """Read up to and including the next mark, which is returned; None if the text ends first.

        `sink` receives the text without the newlines around marks. The mark and the newlines before it are
        held, to be released or given back. Silent marks are skipped.
        """
        self.into(sink)
        while True:
            found = marks.search(self._text, self._at)
            if found is None:
                self._at = len(self._text) if self.ended else marks.first_open(self._text, self._at)
                if self.ended:
                    return None
                yield
                continue
            self._at = found.start()
            self.hold()
            self.into(self.drop)
            self._at = found.end()
            if found[1] not in marks.silent:
                return found[1]
            self.release()
            yield from self.newlines()
            self.into(sink)


Program = Callable[[Scanner], Reading[None]]


class Machine:
    """A parser that runs a program, which must read to the end of the text."""

    def __init__(self, program: Program) -> None:
        self._scanner = Scanner()
        self._run = program(self._scanner)

    def trace_content(self) -> list[list[int]]:
        spans: list[list[int]] = []
        self._scanner.content_spans = spans
        return spans

    def feed(self, text: str) -> list[Event]:
        self._scanner.put(text)
        return self._go_on()

    def finish(self) -> list[Event]:
        self._scanner.ended = True
        return self._go_on()

    def _go_on(self) -> list[Event]:
        next(self._run, None)
        return self._scanner.drain()
