"""What a format of tool calls is: a program that reads them, and a grammar that keeps a model to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import msgspec

from frontend.parsing.calls import Call
from frontend.parsing.marks import Marks
from frontend.parsing.scanner import Malformed, Program, Reading, Scanner
from frontend.structured import Format, json_object, json_schema


class Tool(Protocol):
    """A function that the model may call, as far as parsers and grammars need to know it."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any] | None:
        """A JSON schema; None for any object."""


class Wanted(msgspec.Struct, frozen=True):
    """What an answer is to be read for."""

    tools: Sequence[Tool]
    eager: bool  # what begins as a call is one, and is passed on while it comes
    turn_ends: tuple[str, ...]  # marks that are shown to nobody


class ToolFormat(ABC):
    """How a family of models writes tool calls."""

    name: ClassVar[str]  # in settings
    needs_special_tokens: ClassVar[bool] = False  # the marks are special tokens, which are hidden by default
    turn_ends: ClassVar[tuple[str, ...]] = ()  # marks that are visible then, and nobody's business

    @abstractmethod
    def program(self, wanted: Wanted) -> Program:
        """Reads an answer, or what is left of it after the reasoning."""

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
    """Calls that stand in the text, behind marks."""

    starts: ClassVar[tuple[str, ...]]  # the marks that calls begin with
    bare: ClassVar[bool] = False  # an answer may also begin with a call that has no mark

    @abstractmethod
    def read_calls(self, attempt: "Attempt") -> Reading[None]:
        """Reads calls, from behind the mark.

        All that is read is held until a call is certain. Raises Malformed where something else comes.
        """

    def program(self, wanted: Wanted) -> Program:
        marks = marks_of(self.starts, wanted.turn_ends)

        def read(scanner: Scanner) -> Reading[None]:
            mark: str | None = ""
            if self.bare:
                scanner.hold()
            else:
                mark = yield from scanner.until(marks, scanner.content)
            while mark is not None:
                try:
                    yield from self.read_calls(Attempt(scanner, mark, wanted.tools, wanted.eager))
                except Malformed:
                    scanner.give_back()
                else:
                    scanner.into(scanner.drop)
                    yield from scanner.newlines()
                mark = yield from scanner.until(marks, scanner.content)

        return read


class Attempt(msgspec.Struct, frozen=True):
    """A place where calls may stand."""

    scanner: Scanner
    mark: str  # behind which they would be; empty at the start of an answer
    tools: Sequence[Tool]
    eager: bool

    def call(self) -> Call:
        return Call(self.scanner, self.eager)


def listed(scanner: Scanner, read_one: Callable[[], Reading[None]]) -> Reading[None]:
    """Reads a list in brackets. What comes after a call is held until the list goes on or ends."""
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
def marks_of(starts: tuple[str, ...], silent: tuple[str, ...]) -> Marks:
    return Marks(*starts, silent=silent)
