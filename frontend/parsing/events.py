"""The events that a parser finds in an assistant's text, in textual order."""

from typing import Protocol

import msgspec


class Content(msgspec.Struct, frozen=True, gc=False):
    """Text for the user."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """Text of the model's reasoning, which precedes its answer."""

    text: str


class CallBegun(msgspec.Struct, frozen=True, gc=False):
    """The beginning of a tool call. Calls are numbered from 0 and do not overlap."""

    index: int
    name: str


class CallArguments(msgspec.Struct, frozen=True, gc=False):
    """A piece of a call's arguments. The concatenated pieces are the text of a JSON object."""

    index: int
    text: str


Event = Content | Reasoning | CallBegun | CallArguments


class Span(msgspec.Struct, gc=False):
    """Where a part of the content begins and ends in the text, in characters."""

    start: int
    end: int
    glue: int = 0  # characters of content before it that the text does not have, and that the parser added

    @property
    def shown(self) -> int:
        """The characters of content that it stands for."""
        return self.glue + self.end - self.start


class Parser(Protocol):
    """Turns the text of one answer into events. Merged events do not depend on how the text was split."""

    def feed(self, text: str) -> list[Event]: ...

    def trace_content(self) -> list[Span]:
        """From now on, where the content begins and ends in the text: the list grows with what is fed."""

    def finish(self) -> list[Event]:
        """The remaining events. The text may end anywhere, even within a call."""
