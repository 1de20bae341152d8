"""Calls that take longer than a step may: the progress page has a phase of its own for them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from ipc.progress import MEDIA_STEPS, Phase, ProgressWriter


class MediaPhases:
    """Shows that images are decoded or encoded, or that a model is loaded again: calls that hold the
    interpreter's lock."""

    def __init__(self, stall_seconds: float) -> None:
        """`stall_seconds`: the budget of a step, and of each image."""
        self._stall_seconds = stall_seconds
        self._progress: ProgressWriter | None = None

    def report_to(self, progress: ProgressWriter) -> None:
        self._progress = progress

    @contextmanager
    def of(self, images: int) -> Iterator[None]:
        """Around work on so many images. Afterwards the phase is a step's again."""
        if self._progress is None or not images:
            yield
            return
        self._progress.enter(Phase.MEDIA, self._stall_seconds * min(1 + images, MEDIA_STEPS))
        try:
            yield
        finally:
            self._progress.enter(Phase.STEP, self._stall_seconds)

    def of_load(self) -> AbstractContextManager[None]:
        """Around the load of a model while the engine serves."""
        return self.of(MEDIA_STEPS)
