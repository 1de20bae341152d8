"""What a parser finds in an assistant's text, in the order of the text."""

from typing import Protocol

import msgspec


class Content(msgspec.Struct, frozen=True, gc=False):
    """Text for the user."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """Text that the model wrote for itself before it answered."""

    text: str


class CallBegun(msgspec.Struct, frozen=True, gc=False):
    """A tool call. Calls of one answer count from 0; the arguments of one end before the next begins."""

    index: int
    name: str


class CallArguments(msgspec.Struct, frozen=True, gc=False):
    """The next piece of a call's arguments, which are a JSON object as text when put together."""

    index: int
    text: str


Event = Content | Reasoning | CallBegun | CallArguments


class Parser(Protocol):
    """One answer's text in, its events out. However the text is cut, the events put together are the same."""

    def feed(self, text: str) -> list[Event]: ...

    def finish(self) -> list[Event]:
        """What is still owed when no more text comes, possibly in the middle of anything."""
