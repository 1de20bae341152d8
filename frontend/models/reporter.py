"""How the preparation of a model tells a person what it is doing."""

from typing import Protocol


class Reporter(Protocol):
    """Receives what happens, in order."""

    def step(self, text: str) -> None:
        """An activity begins, and the one before has ended."""

    def progress(self, done: int, total: int | None) -> None:
        """The activity has done so many bytes of `total`, where that is known."""

    def note(self, text: str) -> None:
        """Something worth knowing happened that stops nothing."""


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None: ...

    def progress(self, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...
