"""Progress in a terminal: a moving bar for the current activity, and a line for each finished one."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from frontend.cli.units import MEGABYTE, shown_seconds


class BytesColumn(ProgressColumn):
    """Downloaded size, speed and remaining time; empty for an activity that reports no bytes."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text()
        of = f" of {task.total / MEGABYTE:.0f}" if task.total else ""
        speed = f", {task.speed / MEGABYTE:.1f} MB/s" if task.speed else ""
        left = task.time_remaining
        rest = f", {shown_seconds(left)} left" if speed and left else ""
        return Text(f"{task.completed / MEGABYTE:.0f}{of} MB{speed}{rest}")


class LiveReporter:
    """A Reporter on stderr. The current activity is the last line; finished ones remain above it."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            BytesColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False, markup=False),
            transient=True,
        )
        self._progress.start()
        self._activity = ""

    def step(self, text: str) -> None:
        self._end(done=True)
        self._activity = text
        self._progress.add_task(text, total=None)

    def progress(self, done: int, total: int | None) -> None:
        for task in self._progress.task_ids:
            self._progress.update(task, completed=done, total=total)

    def note(self, text: str) -> None:
        self._progress.console.print(f"  {text}", style="yellow")

    def close(self, *, done: bool) -> None:
        self._end(done=done)
        self._progress.stop()

    def _end(self, *, done: bool) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
            if done:
                self._progress.console.print(Text.assemble(("✓", "green"), f" {self._activity}"))
