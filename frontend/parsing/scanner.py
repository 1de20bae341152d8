"""Incremental parsing with generators that suspend while they wait for more text.

A program is a generator that reads from a Scanner. It yields whenever it needs more text, and continues when
more has arrived or the text has ended. No text is read twice, so the work is linear in its length. A program
that uses only the methods of Scanner cannot observe how the text was split.
"""

import contextlib
import re
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

from frontend.parsing.events import CallArguments, CallBegun, Content, Event, Reasoning, Span
from frontend.parsing.marks import Marks

T = TypeVar("T")
Reading = Generator[None, None, T]
Sink = Callable[[str], Any]  # receives the text that was read, in pieces

_NEWLINES = re.compile(r"[\r\n]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_BLANKS = re.compile(r"[ \t]*")
_NO_TAG = re.compile(r"[^<]*")


def is_encodable(text: str) -> bool:
    """Whether the text can be sent as UTF-8, that is, has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Malformed(Exception):
    """The text is not what it seemed to begin. The offending character has not been read yet."""


class _Joint:
    """Keeps pieces of one kind of text apart where a call or the end of a message was between them."""

    def __init__(self) -> None:
        self._last = ""  # the last character so far
        self._gap: str | None = None  # the newlines that were around what is between, if anything is
        self.gap_at = 0  # their place in the whole text

    def part(self, newlines: str = "", at: int = 0) -> None:
        """Something is between the text so far and what follows, with `newlines` on one side of it."""
        if not self._last:
            return
        if len(newlines) > len(self._gap or ""):
            self._gap, self.gap_at = newlines, at
        elif self._gap is None:
            self._gap, self.gap_at = "", 0

    def widen(self, newlines: str, at: int) -> None:
        if self._gap is not None:
            self.part(newlines, at)

    def joined(self, text: str) -> str:
        """The text, which is not empty, with what separates it from the text before it."""
        if self._gap is not None:
            apart = self._last.isspace() or text[0].isspace()
            text = (self._gap or ("" if apart else "\n")) + text
            self._gap = None
        self._last = text[-1]
        return text


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
        self._newlines = ""  # those before the last mark
        self._newlines_at = 0
        self._content = _Joint()
        self._reasoning = _Joint()
        self._before = 0  # characters that were read and dropped before `_text`
        self.content_spans: list[Span] | None = None  # in the whole text, where they are wanted

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
        joined = self._content.joined(text)
        self._events.append(Content(joined))
        if self.content_spans is not None:
            end = self._before + self._sunk
            self._note(end - len(text), end, len(joined) - len(text))

    def _note(self, start: int, end: int, glue: int) -> None:
        """A part of the content, which may go on with the one before it."""
        spans, gap = self.content_spans, self._content.gap_at
        assert spans is not None, "somebody wants them"
        if glue and spans and spans[-1].end <= gap <= start - glue:  # the model wrote it
            self._note(gap, gap + glue, 0)
            glue = 0
        if spans and spans[-1].end == start and not glue:
            spans[-1].end = end
        else:
            spans.append(Span(start, end, glue))

    def reasoning(self, text: str) -> None:
        self._events.append(Reasoning(self._reasoning.joined(text)))

    def part(self) -> None:
        """What follows does not continue the text so far, so that they must not be glued."""
        self._content.part()
        self._reasoning.part()

    def begin_call(self, name: str) -> Sink:
        """Emit the beginning of a call, and return the sink of its arguments."""
        self._content.part(self._newlines, self._newlines_at)
        self._newlines = ""
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

    @property
    def place(self) -> int:
        """How many characters have been read."""
        return self._before + self._at

    @property
    def held(self) -> str:
        self._pour()
        return "".join(self._held or ())

    def release(self) -> None:
        """Discard the held text, which has been recognized."""
        self._pour()
        self._held = None

    def give_back(self) -> None:
        """Emit the held text as content, but unread newlines at its end, which may precede a mark."""
        self._pour()
        held, self._held = "".join(self._held or ()), None
        text = held.rstrip("\r\n")
        unread = held[len(text) :]
        self._before += self._at - len(unread)
        self._text = unread + self._text[self._at :]
        self._at = self._sunk = 0
        if text:
            self.content(text)

    def unread(self, text: str) -> None:
        """Return before `text`, which was read last."""
        self._pour()
        self._before += self._at - len(text)
        self._text = text + self._text[self._at :]
        self._at = self._sunk = 0
        if self._held is not None:
            held = "".join(self._held)
            self._held = [held[: len(held) - len(text)]]

    def drop_rest(self) -> None:
        """Discard the held text and all that follows."""
        self.into(self.drop)
        self._at = len(self._text)
        self.release()

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

    def blanks(self) -> Reading[None]:
        return self.run(_BLANKS)

    def newlines(self) -> Reading[None]:
        return self.run(_NEWLINES)

    def newlines_dropped(self) -> Reading[bool]:
        """Drop newlines. Whether there were any."""
        return bool((yield from self.word(_NEWLINES)))

    def gap(self) -> Reading[None]:
        """Read newlines after a call. They separate the text before it from what follows, if both exist."""
        at = self._before + self._at
        self._content.widen((yield from self.word(_NEWLINES)), at)

    def word(self, pattern: re.Pattern[str]) -> Reading[str]:
        """Read and return a run of a class of characters."""
        parts: list[str] = []
        self.into(parts.append)
        yield from self.run(pattern)
        self.into(self.drop)
        return "".join(parts)

    def literal(self, *options: str) -> Reading[str | None]:
        """Read and return the option that follows, if any. None may be a prefix of another."""
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

    def ahead(self, *options: str) -> Reading[str | None]:
        """The option that follows, if any, which is not read. None may be a prefix of another."""
        found = yield from self.literal(*options)
        self._at -= len(found or "")
        return found

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

    def may_close(self, *marks: str) -> Reading[None]:
        """The same, if one of them follows."""
        with contextlib.suppress(Malformed):
            yield from self.close(*marks)

    def at_mark(self, marks: Marks) -> Reading[bool]:
        """Whether a mark follows, possibly after newlines."""
        while (found := marks.match(self._text, self._at)) is None:
            if self.ended or not marks.begin_at(self._text, self._at):
                return False
            yield
        return bool(found[1])

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

    def before(self, end: str) -> Reading[str]:
        """Read up to and including `end`, which begins with `<`; the text before it. Raises Malformed."""
        parts: list[str] = []
        self.into(parts.append)
        while True:
            yield from self.run(_NO_TAG)
            if (yield from self.literal(end)) is not None:
                break
            if not (yield from self.peek()):
                raise Malformed
            self.advance()
        self.into(self.drop)
        return "".join(parts).removesuffix(end)

    def until(self, marks: Marks, sink: Sink, *, cut: bool = False) -> Reading[str | None]:
        """Read up to and including the next mark, which is returned; None if the text ends first.

        The beginning of a line that may hold an unmarked call is an empty mark. `sink` receives the text
        without the newlines around marks. The mark and the newlines before it are held, to be released or
        given back. Silent marks are skipped. `cut` states that what looks like the beginning of a mark at
        the end of the text is one, and is dropped.
        """
        self.into(sink)
        while True:
            found = marks.search(self._text, self._at)
            if found is None:
                self._at = marks.first_open(self._text, self._at)
                if self.ended:
                    self.into(self.drop if cut else sink)
                    self._at = len(self._text)
                    return None
                yield
                continue
            self._at = found.start()
            if not (found[1] or self.ended) and marks.begin_at(self._text, self._at):
                yield  # a mark may begin like an unmarked call
                continue
            self.hold()
            self.into(self.drop)
            self._at = found.end()
            mark = found[1] or ""
            if mark not in marks.silent:
                self._newlines = found[0].removesuffix(mark)
                self._newlines_at = self._before + found.start()
                return mark
            self.release()
            yield from self.gap()
            self.into(sink)


Program = Callable[[Scanner], Reading[None]]


class Machine:
    """A parser that runs a program, which must read to the end of the text."""

    def __init__(self, program: Program) -> None:
        self._scanner = Scanner()
        self._run = program(self._scanner)

    def trace_content(self) -> list[Span]:
        spans: list[Span] = []
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
