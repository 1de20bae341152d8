"""Reading a text while it comes: programs that ask for the next piece in the middle of what they read.

A program is a generator over a Scanner. It yields wherever it needs more text than there is, and goes on when
more has come or the text has ended. Nothing is read twice, so the work is linear in the text, and a program
that asks only what the methods here answer cannot see how the text was cut.
"""

import re
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

from frontend.parsing.events import CallArguments, CallBegun, Content, Event, Reasoning
from frontend.parsing.marks import Marks

T = TypeVar("T")
Reading = Generator[None, None, T]
Sink = Callable[[str], Any]  # takes the text that was read, in pieces

_NEWLINES = re.compile(r"[\r\n]*")
_SPACE = re.compile(r"[ \t\r\n]*")


class Malformed(Exception):
    """What was begun is not what it looked like. The character that shows it is not read yet."""


class Scanner:
    """The text so far, a place in it, and the events found."""

    def __init__(self) -> None:
        self.ended = False
        self._text = ""
        self._at = 0
        self._sunk = 0  # what was read before it has gone to the sink
        self._sink: Sink = self.drop
        self._held: list[str] | None = None
        self._events: list[Event] = []
        self._calls = 0

    # --- the outer side -----------------------------------------------------------------------------

    def put(self, piece: str) -> None:
        self._pour()
        self._text = self._text[self._at :] + piece
        self._at = self._sunk = 0

    def drain(self) -> list[Event]:
        self._pour()
        events, self._events = self._events, []
        return events

    # --- sinks --------------------------------------------------------------------------------------

    def drop(self, text: str) -> None: ...

    def content(self, text: str) -> None:
        self._events.append(Content(text))

    def reasoning(self, text: str) -> None:
        self._events.append(Reasoning(text))

    def begin_call(self, name: str) -> Sink:
        """The sink of the call's arguments."""
        index = self._calls
        self._calls += 1
        self._events.append(CallBegun(index, name))
        return partial(self._arguments, index)

    def _arguments(self, index: int, text: str) -> None:
        self._events.append(CallArguments(index, text))

    def into(self, sink: Sink) -> None:
        """What is read from here on goes there."""
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
        """Remember what is read from here on, which may have to be given back."""
        self._pour()
        self._held = []

    def release(self) -> None:
        """It was what it looked like."""
        self._pour()
        self._held = None

    def give_back(self) -> None:
        """It was not: what is remembered becomes content, as it came."""
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
        """Past the character that `peek` showed."""
        self._at += 1

    def run(self, pattern: re.Pattern[str]) -> Reading[None]:
        """The longest run of a class of characters, which may be empty: `pattern` is `[…]*`."""
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
        """Reads a run of a class of characters, and returns it."""
        parts: list[str] = []
        self.into(parts.append)
        yield from self.run(pattern)
        self.into(self.drop)
        return "".join(parts)

    def literal(self, *options: str) -> Reading[str | None]:
        """Reads the option that stands here, if one does."""
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
        """Reads the option that stands here. Raises Malformed if none does."""
        found = yield from self.literal(*options)
        if found is None:
            raise Malformed
        return found

    def close(self, *marks: str) -> Reading[None]:
        """Reads one of `marks`, or as much of it as came before the text ended. Raises Malformed."""
        if (yield from self.literal(*marks)) is None:
            rest = self._text[self._at :]
            if not self.ended or not any(mark.startswith(rest) for mark in marks):
                raise Malformed
            self._at = len(self._text)

    def opens_with(self, marks: Marks) -> Reading[bool]:
        """Reads a mark that stands here, with the newlines around it."""
        while (found := marks.match(self._text, self._at)) is None:
            if self.ended or not marks.begin_at(self._text, self._at):
                return False
            yield
        self.into(self.drop)
        self._at = found.end()
        yield from self.newlines()
        return True

    def until(self, marks: Marks, sink: Sink) -> Reading[str | None]:
        """Reads up to the next mark, and past it; None if the text ends first.

        `sink` gets all but the newlines right around marks. The mark and the newlines before it are held, to
        be released or given back. Silent marks are read over.
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
    """A parser that runs a program, which has to read to the end of the text."""

    def __init__(self, program: Program) -> None:
        self._scanner = Scanner()
        self._run = program(self._scanner)

    def feed(self, text: str) -> list[Event]:
        self._scanner.put(text)
        return self._go_on()

    def finish(self) -> list[Event]:
        self._scanner.ended = True
        return self._go_on()

    def _go_on(self) -> list[Event]:
        next(self._run, None)
        return self._scanner.drain()
