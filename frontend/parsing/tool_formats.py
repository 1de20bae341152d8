"""Formats of tool calls: each has a program that reads calls and a grammar that enforces them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import msgspec

from frontend.parsing.calls import Call, read_json_calls
from frontend.parsing.marks import Marks
from frontend.parsing.scanner import Malformed, Program, Reading, Scanner
from frontend.structured import Format, json_object, json_schema

_FENCE = "```"
_FENCED = ("", "json", "tool_call", "tool_calls")  # languages of blocks that may hold calls
_WORD = re.compile(r"[\w.+-]*")


class Tool(Protocol):
    """The properties of a function that parsers need."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any] | None:
        """A JSON schema; None for any object."""


class ParserOptions(msgspec.Struct, frozen=True):
    """What a parser looks for in an answer."""

    tools: Sequence[Tool]
    eager: bool  # whatever begins like a call is one, and is emitted before it is complete
    turn_ends: tuple[str, ...]  # marks that are dropped from the output
    unmarked: bool  # calls without the format's marks are calls
    bound: bool = False  # a grammar binds calls: only what it watches for begins one
    whole: bool = False  # it binds the whole answer, which is calls or content


class ToolFormat(ABC):
    """The way in which a family of models writes tool calls."""

    name: ClassVar[str]  # as in the settings
    example: ClassVar[str] = ""  # a call of NAME with OBJECT, for prompts that have to explain it
    needs_special_tokens: ClassVar[bool] = False  # the marks are special tokens, which are hidden by default
    turn_ends: ClassVar[tuple[str, ...]] = ()  # marks that then become visible, and must be dropped
    # What the grammar watches for only at the very beginning of the answer, if it can watch nowhere else.
    beginnings: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def program(self, options: ParserOptions) -> Program:
        """A program that reads an answer, or the part of it after the reasoning."""

    def arguments_format(self, schema: dict[str, Any] | None) -> Format:
        """The format of one call's arguments: values of a JSON schema of objects, or any object without one.

        Raises ConstraintError.
        """
        return json_object() if schema is None else json_schema(schema)

    @abstractmethod
    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        """The format of a structural tag for calls of the given functions.

        `calls` maps the name of each function, of which there is at least one, to its `arguments_format`.
        With `at_least_one` the answer consists of calls alone, and the format may be an alternative in an
        `or` with other formats of bounded extent. Otherwise the answer is text in which the model may call a
        function. `parallel` allows several calls.
        """


class MarkedCalls(ToolFormat):
    """Calls within text, each preceded by a mark."""

    starts: ClassVar[tuple[str, ...]]  # marks before calls
    # An answer may also begin with a call without a mark: its possible first characters.
    bare: ClassVar[str] = ""

    @abstractmethod
    def read_calls(self, context: "CallContext") -> Reading[None]:
        """Read calls, starting after the mark. Raises Malformed for anything else.

        The text is held until it is certain to be a call.
        """

    def read_end(self, scanner: Scanner, mark: str) -> Reading[None]:
        """Read the mark after a call, which models sometimes omit before the next one. Raises Malformed."""
        yield from scanner.space()
        if not (yield from scanner.at_mark(marks_of(self.starts, ()))):
            yield from scanner.close(mark)

    def program(self, options: ParserOptions) -> Program:
        return _MarkedReader(self, options).read


class _MarkedReader:
    """Reads an answer: text, calls after marks, and lines that are nothing but calls."""

    def __init__(self, form: MarkedCalls, options: ParserOptions) -> None:
        self._form = form
        self._options = options
        free = options.unmarked and not options.bound
        self._unmarked = free and not options.eager and bool(options.tools)
        self._bare = form.bare if free else ""
        self._beginnings = form.beginnings if options.bound else ()
        starts = () if self._beginnings else form.starts
        if options.whole and not self._beginnings:
            self._beginnings = form.starts
        self._marks = marks_of(starts, options.turn_ends, self._unmarked)
        self._no_calls = marks_of((), options.turn_ends)
        self._in_block = False  # a fenced one that is no call

    def read(self, scanner: Scanner) -> Reading[None]:
        if self._beginnings:
            called = yield from self._attempt(scanner, self._beginning(scanner))
            if not called and (self._options.whole or self._form.beginnings):
                yield from scanner.until(self._no_calls, scanner.content, cut=self._options.eager)
                return
        else:
            called = yield from self._attempt(scanner, self._line(scanner, self._bare))
        while True:
            if called and self._unmarked:
                called = yield from self._attempt(scanner, self._line(scanner, ""))
                continue
            mark = yield from scanner.until(self._marks, scanner.content, cut=self._options.eager)
            if mark is None:
                return
            context = self._context(scanner, mark)
            reading = self._form.read_calls(context) if mark else self._read_unmarked(context)
            called = yield from self._attempt(scanner, reading)

    def _attempt(self, scanner: Scanner, reading: Reading[None]) -> Reading[bool]:
        """Whether `reading` found calls. If not, what it read becomes content."""
        try:
            yield from reading
        except Malformed:
            if self._options.eager and scanner.ended:  # a call that is cut off
                scanner.drop_rest()
            else:
                scanner.give_back()
            return False
        scanner.release()
        scanner.into(scanner.drop)
        yield from scanner.gap()
        return True

    def _beginning(self, scanner: Scanner) -> Reading[None]:
        """Read calls at the beginning of an answer that a grammar binds. Raises Malformed."""
        scanner.hold()
        scanner.into(scanner.drop)
        if self._options.whole:  # then there may be blanks after the reasoning
            yield from scanner.space()
        found = yield from scanner.ahead(*self._beginnings)
        if found is None:
            raise Malformed
        mark = found if found in self._form.starts else ""
        if mark:
            yield from scanner.expect(mark)
        yield from self._form.read_calls(self._context(scanner, mark))

    def _line(self, scanner: Scanner, bare: str) -> Reading[None]:
        """Read calls without marks at the beginning of a line. Raises Malformed."""
        scanner.hold()
        scanner.into(scanner.drop)
        yield from scanner.space() if bare else scanner.blanks()
        following = yield from scanner.peek()
        if following and following in bare:
            yield from self._form.read_calls(self._context(scanner, ""))
        elif following and self._unmarked and not (yield from scanner.at_mark(self._marks)):
            yield from self._read_unmarked(self._context(scanner, ""))
        else:
            raise Malformed

    def _read_unmarked(self, context: "CallContext") -> Reading[None]:
        """Read a line of JSON, or a fenced block, that is nothing but calls of offered functions.

        Small models often write these, whatever the chat template asks for. Raises Malformed for anything
        else, which is at least one character.
        """
        scanner, declared = context.scanner, {tool.name for tool in context.tools}
        scanner.into(scanner.drop)
        fenced = (yield from scanner.literal(_FENCE)) is not None
        if self._in_block:
            self._in_block = not fenced
            if not fenced:
                scanner.advance()
            raise Malformed
        self._in_block = fenced
        if fenced:
            if (yield from scanner.word(_WORD)).lower() not in _FENCED:
                raise Malformed
            yield from scanner.space()
        calls = yield from read_json_calls(scanner, context.call, declared, row=fenced)
        if fenced:
            yield from scanner.space()
            yield from scanner.close(_FENCE)
            self._in_block = False
        yield from scanner.blanks()
        if (yield from scanner.peek()) not in ("", "\r", "\n"):
            raise Malformed
        for call in calls:
            call.complete()

    def _context(self, scanner: Scanner, mark: str) -> "CallContext":
        options = self._options
        return CallContext(scanner, mark, options.tools, options.eager, options.bound or options.eager)


class CallContext(msgspec.Struct, frozen=True):
    """A position at which calls may begin."""

    scanner: Scanner
    mark: str  # the one before the position; empty at the start of an answer
    tools: Sequence[Tool]
    eager: bool
    bound: bool = False  # a grammar writes the calls, with all of their marks

    def call(self) -> Call:
        return Call(self.scanner, self.eager)


def read_list(scanner: Scanner, read_one: Callable[[], Reading[None]]) -> Reading[None]:
    """Read a list in brackets. Text after a call is held until the list continues or ends."""
    yield from scanner.expect("[")
    while True:
        yield from scanner.space()
        yield from read_one()
        scanner.hold()
        yield from scanner.space()
        if (yield from scanner.expect(",", "]")) == "]":
            scanner.release()
            return


@lru_cache(maxsize=64)
def marks_of(starts: tuple[str, ...], silent: tuple[str, ...], unmarked: bool = False) -> Marks:
    return Marks(*starts, silent=silent, unmarked=unmarked)
