"""Calls in reasoning that never ends: some models call without ending their reasoning first."""

from frontend.parsing.events import CallArguments, CallBegun, Content, Event
from frontend.parsing.scanner import Machine, Program, Scanner, Sink


class Thought:
    """Reads reasoning, in which calls count only if the whole text ends before the reasoning does.

    So the text from the first complete call on is held back until that is known.
    """

    def __init__(self, scanner: Scanner, calls: Program) -> None:
        """`calls` reads calls within a text, as it does after reasoning."""
        self._scanner = scanner
        self._machine = Machine(calls)
        self._unsaid: list[str] = []  # pieces of the text
        self._events: list[Event] = []  # from the first call on

    def write(self, text: str) -> None:
        """Add a piece of the reasoning."""
        self._unsaid.append(text)
        self._take(self._machine.feed(text))

    def close(self) -> None:
        """The reasoning has ended: all of it was reasoning."""
        if self._unsaid:
            self._scanner.reasoning("".join(self._unsaid))

    def end(self) -> None:
        """The text has ended before the reasoning: calls in it are calls."""
        self._take(self._machine.finish())
        sink: Sink = self._scanner.drop
        for event in self._events:
            match event:
                case CallBegun(_, name):
                    sink = self._scanner.begin_call(name)
                case CallArguments(_, text):
                    sink(text)
                case _:
                    self._scanner.reasoning(event.text)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self._events or not isinstance(event, Content):
                self._events.append(event)
            else:  # which may be without marks that were dropped
                unsaid = "".join(self._unsaid)
                rest = unsaid[unsaid.find(event.text) + len(event.text) :]
                self._unsaid = [rest] if rest else []
                self._scanner.reasoning(event.text)
