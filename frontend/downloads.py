"""Downloads as jobs of the server: each is a child process that pulls one model into the store.

    queued ──▶ running ──▶ done
       ▲  │       │  └────▶ failed
       │  └──┬────┘           │
       │     ▼                │
       └── paused ◀───────────┘ resume()      cancel(): any of them but done → cancelled

Pausing ends the child, and resuming starts another: it continues where the first one stopped. A child also
ends with the server, by its lifeline.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from frontend.download_job import NOTES, Download, Job, State, command_of, run_child
from frontend.errors import BadRequest, Conflict, NotFound, QueueFull, ServerError, ShuttingDown
from frontend.models.pulling import Done, Failed, Order
from frontend.shortened import quoted, shown_source

__all__ = ["Download", "Downloads"]

_ACTIVE = ("queued", "running", "paused")
_HISTORY = 100  # of downloads that have ended
_MAX_ACTIVE = 64
_ENDINGS: dict[str, State] = {"pause": "paused", "cancel": "cancelled"}

Add = Callable[[str, str], Awaitable[object]]  # serves a model of the store, by a name


class Downloads:
    """All downloads of this server, a bounded number of them running."""

    def __init__(
        self,
        store: str | None,
        add: Add | None = None,
        check: Callable[[str, str], None] | None = None,
        max_running: int = 2,
        command: Callable[[Order], list[str]] = command_of,
    ) -> None:
        """`add` serves what was pulled. `check(source, name)` raises BadRequest for what cannot be."""
        self._store, self._add = store, add
        self._check = check or check_request
        self._command = command
        self._slots = asyncio.Semaphore(max_running)
        self._jobs: dict[str, Job] = {}  # in the order of their creation
        self._is_closed = False

    def start(self, source: str, name: str | None = None) -> Download:
        """Raises BadRequest, and QueueFull. One of the same source is continued, if it has not ended."""
        for job in self._jobs.values():
            known = job.download
            if known.state in _ACTIVE and (job.source, known.name) == (source, name):
                return self.resume(known.id) if known.state == "paused" else known
        self._check_open()
        self._check(source, name or "")
        if sum(job.download.state in _ACTIVE for job in self._jobs.values()) >= _MAX_ACTIVE:
            raise QueueFull(f"{_MAX_ACTIVE} downloads are under way; try again when some have ended")
        id, shown = f"dl_{uuid.uuid4().hex}", shown_source(source)
        job = Job(Download(id=id, source=shown, name=name, created=time.time()), source)
        self._jobs[job.download.id] = job
        self._forget()
        job.task = asyncio.create_task(self._run(job))
        return job.download

    def list(self) -> Sequence[Download]:
        """The newest first."""
        return [job.download for job in reversed(self._jobs.values())]

    def get(self, id: str) -> Download:
        """Raises NotFound."""
        return self._job(id).download

    async def pause(self, id: str) -> Download:
        """Raises NotFound, and Conflict for one that has ended."""
        return await self._end(id, "pause")

    async def cancel(self, id: str) -> Download:
        """Forget it, if it has ended. What was downloaded stays for a later download, for two weeks.

        Raises NotFound.
        """
        job = self._job(id)
        if job.download.state not in _ACTIVE:
            del self._jobs[id]
            return job.download
        return await self._end(id, "cancel")

    def resume(self, id: str) -> Download:
        """Continue one that is paused, failed or cancelled. Raises NotFound, and Conflict for any other."""
        job = self._job(id)
        if job.download.state not in ("paused", "failed", "cancelled"):
            raise Conflict(f"the download is {job.download.state}; only one that is paused can be resumed")
        self._check_open()
        job.wanted = None
        job.change(state="queued", error=None, ended=None, step="")
        job.task = asyncio.create_task(self._run(job))
        return job.download

    async def follow(self, id: str) -> AsyncIterator[Download]:
        """The download now and after each change, until it is paused or has ended. Raises NotFound.

        A slow reader misses what happened in between.
        """
        job = self._job(id)
        changed = asyncio.Event()
        job.followers.add(changed)
        try:
            while True:
                changed.clear()
                download = job.download
                yield download
                if download.state not in ("queued", "running"):
                    return
                await changed.wait()
        finally:
            job.followers.discard(changed)

    async def close(self) -> None:
        """End all children. Their downloads are paused, and no others begin."""
        self._is_closed = True
        for job in self._jobs.values():
            job.wanted = job.wanted or "pause"
        tasks = [job.task for job in self._jobs.values() if job.task and not job.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- inside -------------------------------------------------------------------------------------------

    def _job(self, id: str) -> Job:
        try:
            return self._jobs[id]
        except KeyError:
            raise no_such(id) from None

    def _check_open(self) -> None:
        if self._is_closed:
            raise ShuttingDown("the server is shutting down", retry_after=1)

    def _forget(self) -> None:
        ended = [id for id, job in self._jobs.items() if job.download.state not in _ACTIVE]
        for id in ended[: max(0, len(ended) - _HISTORY)]:
            del self._jobs[id]

    async def _end(self, id: str, wanted: str) -> Download:
        job = self._job(id)
        if job.download.state == "paused" and wanted == "cancel":
            job.change(state="cancelled", ended=time.time())
        elif job.download.state not in ("queued", "running"):
            raise Conflict(f"the download is {job.download.state}")
        elif job.task is not None:
            job.wanted = wanted
            job.task.cancel()
            await asyncio.wait([job.task])
        return job.download

    async def _run(self, job: Job) -> None:
        try:
            async with self._slots:
                job.change(state="running", step="Starting")
                await self._pull(job)
        except asyncio.CancelledError:
            state = _ENDINGS[job.wanted or "cancel"]
            ended = None if state == "paused" else time.time()
            job.change(state=state, bytes_per_second=None, seconds_left=None, ended=ended)
        except Exception as error:
            job.change(state="failed", error=str(error), ended=time.time())

    async def _pull(self, job: Job) -> None:
        order = Order(job.source, self._store, job.download.name or "")
        last, words = await run_child(job, self._command(order), order)
        if isinstance(last, Done):
            await self._serve(job, last)
        elif isinstance(last, Failed):
            job.change(state="failed", error=last.error, ended=time.time())
        else:
            job.change(state="failed", error=words, ended=time.time())

    async def _serve(self, job: Job, done: Done) -> None:
        notes = job.download.notes
        try:
            if self._add:
                await self._add(done.name, done.name)
        except ServerError as error:  # it is served already, or cannot be
            notes = [*notes, error.message][-NOTES:]
        job.change(
            state="done",
            step="",
            model=done.name,
            notes=notes,
            bytes_per_second=None,
            seconds_left=None,
            ended=time.time(),
        )


def no_such(id: str) -> NotFound:
    return NotFound(f"there is no download {quoted(id)}")


def check_request(source: str, name: str) -> None:
    """Raise BadRequest for a source that a client cannot name: above all, any path."""
    from frontend.models.catalogue import load_catalogue
    from frontend.models.errors import ModelError
    from frontend.models.sources.asked import PullOptions, checked_source

    try:
        checked_source(source, PullOptions(name=name, local=False), load_catalogue())
    except ModelError as error:
        text = str(error).partition("\n")[0]
        param = "name" if text.startswith("--name: ") else "source"
        raise BadRequest(f"{param}: {text.removeprefix('--name: ')}", param) from error
