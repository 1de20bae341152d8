"""Parses texts, however they are split."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from frontend.parsing import Dialect, detect, parser_for
from frontend.parsing.events import CallArguments, CallBegun, Content, Event, Reasoning


class Function(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Any] | None = None


FUNCTIONS = (Function("get_weather"), Function("f"), Function("g"))


def together(events: Iterable[Event]) -> list[Event]:
    """Merge adjacent events of one kind."""
    merged: list[Event] = []
    for _, group in groupby(events, _kind):
        first, *others = group
        if not isinstance(first, CallBegun):
            texts = [event.text for event in (first, *others) if not isinstance(event, CallBegun)]
            first = msgspec.structs.replace(first, text="".join(texts))
        merged.append(first)
    return merged


def _kind(event: Event) -> object:
    return type(event), getattr(event, "index", None)


def read(
    pieces: Iterable[str],
    dialect: Dialect,
    *,
    tools: Sequence[Function] | None = FUNCTIONS,
    prompt_tail: str = "",
    eager: bool = False,
    **how: Any,
) -> list[Event]:
    parser = parser_for(dialect, tools=tools, prompt_tail=prompt_tail, eager=eager, **how)
    assert parser is not None
    events = [event for piece in pieces for event in parser.feed(piece)]
    return together(events + parser.finish())


def formats(tool_format: str, reasoning: str = "none") -> Dialect:
    return detect("", tool_format, reasoning)


def parse(text: str, tool_format: str, reasoning: str = "none", **how: Any) -> list[Event]:
    """The events of `text`, which must be the same if it arrives character by character."""
    dialect = formats(tool_format, reasoning)
    whole = read([text], dialect, **how)
    assert read(text, dialect, **how) == whole
    return whole


def call(name: str, arguments: str, index: int = 0) -> list[Event]:
    return [CallBegun(index, name), CallArguments(index, arguments)]


def calls_of(events: Iterable[Event]) -> Iterator[tuple[str, Any]]:
    """Names and decoded arguments."""
    names: dict[int, str] = {}
    for event in events:
        if isinstance(event, CallBegun):
            names[event.index] = event.name
        elif isinstance(event, CallArguments):
            yield names[event.index], msgspec.json.decode(event.text)


def text_of(events: Iterable[Event], kind: type[Content] | type[Reasoning] = Content) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))
