"""How the preparation of a model reports its progress to a person."""

from typing import Protocol


class Reporter(Protocol):
    """Receives events in order."""

    def step(self, text: str) -> None:
        """An activity begins; the previous one has ended."""

    def progress(self, done: int, total: int | None) -> None:
        """`done` bytes are processed, of `total` if that is known."""

    def note(self, text: str) -> None:
        """Something noteworthy happened that does not end the preparation."""


class Silent:
    """Reports nothing."""

    def step(self, text: str) -> None: ...

    def progress(self, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


class Progress:
    """Reports the bytes of several files, or parts of files, as those of one."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self._total = reporter, total
        self.before = 0  # bytes of those that are done

    def __call__(self, done: int, _: int | None = None) -> None:
        self.reporter.progress(self.before + done, self._total)
