"""Files and batches as the event loop sees them: all of it runs in a thread."""

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from frontend.batches.database import Database, Page
from frontend.batches.folder import DATABASE, Folder
from frontend.batches.input import Checked, Place, check
from frontend.batches.lifecycle import Answered, CancelAsked, Event, Filed, Lost, Rejected, Validated, advance
from frontend.batches.output import Result
from frontend.batches.record import DEFAULT_FILE_SECONDS, BatchRecord, FileRecord, owner_of
from frontend.errors import NotFound, QueueFull, RequestTooLarge, StoreUnavailable
from frontend.spool import Spool

T = TypeVar("T")

MAX_LIVE_BATCHES = 1000
_MAX_PENDING = 1024  # calls
_CALL_SECONDS = 300.0
_ORPHAN_SECONDS = 3600.0  # more than any upload takes between its content and its record
_OLD_SECONDS = DEFAULT_FILE_SECONDS  # after its end a batch is forgotten

log = logging.getLogger("nacelle.batches")


class FileLimits(NamedTuple):
    max_bytes: int  # of all files together
    max_files: int


class BatchStore:
    """Methods raise StoreUnavailable where the folder or its database cannot be used."""

    def __init__(self, folder: Folder, limits: FileLimits, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._limits = limits
        self._now = now
        self._database = Database(folder.root / DATABASE)
        self._thread = ThreadPoolExecutor(1, "batches")
        self._slow = ThreadPoolExecutor(2, "batch-files")  # what reads or writes whole files takes seconds
        self._pending = threading.BoundedSemaphore(_MAX_PENDING)
        self._made = False

    @property
    def now(self) -> int:
        return int(self._now())

    # --- files

    async def add_file(self, file: FileRecord, spool: Spool) -> None:
        """Raises RequestTooLarge where there is no room."""
        fd = os.dup(spool.fd)  # its owner may leave meanwhile

        def copy() -> None:
            try:
                self.folder.store(file.id, fd, file.size)
            finally:
                os.close(fd)

        def add() -> bool:
            added = False
            try:
                added = self._database.add_file(file, *self._limits)
            finally:
                if not added:
                    self.folder.remove(file.id)
            return added

        await self._run(copy, self._slow)
        if not await self._run(add):
            most, files = self._limits
            raise RequestTooLarge(
                f"there is no room for this file: at most {files} files of {most} bytes together are kept; "
                "delete files that are no longer needed",
                "file",
            )

    async def file(self, file_id: str, owner: str, param: str = "file_id") -> FileRecord:
        """Raises NotFound, which names the request's `param`."""
        found = await self._run(lambda: self._database.file(file_id, owner, self.now))
        if found is None:
            raise NotFound(f"there is no file {file_id!r}", param)
        return found

    async def files(self, owner: str, page: Page) -> list[FileRecord]:
        """One more than `page.limit` if there are more. Raises NotFound for an unknown `page.after`."""
        found = await self._run(lambda: self._database.files(owner, page, self.now))
        if found is None:
            raise NotFound(f"after: there is no file {page.after!r}", "after")
        return found

    async def remove_file(self, file_id: str, owner: str) -> None:
        """Raises NotFound."""

        def remove() -> bool:
            existed = self._database.remove_file(file_id, owner)
            if existed:
                self.folder.remove(file_id)
            return existed

        if not await self._run(remove):
            raise NotFound(f"there is no file {file_id!r}", "file_id")

    # --- batches

    async def add_batch(self, batch: BatchRecord) -> None:
        """Raises QueueFull, and NotFound if the input file is gone."""

        def add() -> bool:
            try:
                self.folder.keep_input(batch.id, batch.input_file_id)
            except FileNotFoundError:
                raise NotFound(f"there is no file {batch.input_file_id!r}", "input_file_id") from None
            added = False
            try:
                added = self._database.add_batch(batch, owner_of(batch.caller), MAX_LIVE_BATCHES)
            finally:
                if not added:
                    self.folder.forget_input(batch.id)
            return added

        if not await self._run(add):
            raise QueueFull(f"{MAX_LIVE_BATCHES} batches are not done yet; try again later", retry_after=60)

    async def batch(self, batch_id: str, owner: str) -> BatchRecord:
        """Raises NotFound."""
        return _found(await self._run(lambda: self._database.batch(batch_id, owner)), batch_id)

    async def batches(self, owner: str, page: Page) -> list[BatchRecord]:
        """As `files`."""
        found = await self._run(lambda: self._database.batches(owner, page))
        if found is None:
            raise NotFound(f"after: there is no batch {page.after!r}", "after")
        return found

    async def cancel(self, batch_id: str, owner: str) -> BatchRecord:
        """Raises NotFound."""
        return _found(await self._change(batch_id, CancelAsked(), owner), batch_id)

    # --- for the server that runs them

    async def live(self) -> list[BatchRecord]:
        return await self._run(self._database.live)

    async def current(self, batch_id: str) -> BatchRecord | None:
        return await self._run(lambda: self._database.batch(batch_id))

    async def lock(self, batch_id: str) -> int | None:
        """A descriptor that holds the batch until it is closed; None: another server has it."""
        return await self._run(lambda: self.folder.lock(batch_id))

    async def take_over(self, batch_id: str) -> BatchRecord | None:
        """What is left to do of a batch that was just locked, whoever ran it before."""

        def recover() -> BatchRecord | None:
            batch = self._database.batch(batch_id)
            if batch is None or not batch.is_live:
                return None
            sizes = self.folder.size(batch.output_id), self.folder.size(batch.error_id)
            return self._database.recover(batch_id, *sizes)

        return await self._run(recover)

    async def validate(self, batch: BatchRecord, max_line_bytes: int) -> BatchRecord | None:
        """Read the whole input of a batch that is being validated. Raises InputLost, as `read_line` does."""

        def read() -> Checked:
            with self.folder.open_input(batch.id) as file:
                return check(file, batch.endpoint, max_line_bytes)

        checked = await self._run(read, self._slow)
        if checked.errors:
            return await self._change(batch.id, Rejected(checked.errors))
        event = Validated(len(checked.places), checked.model)
        return await self._change(batch.id, event, places=checked.places)

    async def cancel_for(self, batch: BatchRecord, event: CancelAsked) -> BatchRecord | None:
        return await self._change(batch.id, event)

    async def all_answered(self, batch: BatchRecord) -> BatchRecord | None:
        return await self._change(batch.id, Answered())

    async def pending(self, batch_id: str, after: int, limit: int) -> list[Place]:
        return await self._run(lambda: self._database.pending(batch_id, after, limit))

    async def read_line(self, batch_id: str, place: Place) -> bytes:
        return await self._run(lambda: self.folder.read_input(batch_id, place.begin, place.length))

    async def finish(self, batch_id: str, numbered: Sequence[tuple[int, Result]]) -> BatchRecord | None:
        return await self._run(lambda: self._database.finish(batch_id, numbered, self.folder.write))

    async def file_away(self, batch: BatchRecord, event: Filed | Lost) -> BatchRecord | None:
        """End a batch that has all the answers and errors that it will get: its files appear."""

        def end() -> BatchRecord | None:
            current = self._database.batch(batch.id)
            if current is None or not current.is_live:
                return current
            self.folder.complete(current.output_id, current.output_bytes)
            self.folder.complete(current.error_id, current.error_bytes)
            return self._database.change(
                batch.id, lambda found: advance(found, event, self.now), files=self._files_of
            )

        ended = await self._run(end)
        await self.forget_input(batch.id)
        return ended

    async def forget_input(self, batch_id: str) -> None:
        """Of a batch that has ended, while it is locked."""

        def forget() -> None:
            self.folder.forget_input(batch_id)
            self.folder.forget_lock(batch_id)  # whoever waited for this one finds that the batch has ended

        await self._run(forget)

    async def remove_orphans(self) -> None:
        """Contents that nobody knows, since a server ended while it stored them."""

        def remove() -> None:
            old = self._now() - _ORPHAN_SECONDS
            live = self._database.live()
            known = {name for batch in live for name in (batch.id, batch.output_id, batch.error_id)}
            known |= self._database.file_ids()
            self.folder.remove_unknown(known, old)

        await self._run(remove)

    async def sweep(self) -> None:
        """Remove what has expired."""

        def remove() -> None:
            for file_id in self._database.expired_files(self.now):
                self.folder.remove(file_id)
            self._database.remove_old_batches(self.now - _OLD_SECONDS)

        await self._run(remove)

    def close(self) -> None:
        self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)
        self._slow.shutdown(wait=False, cancel_futures=True)

    def _files_of(self, batch: BatchRecord) -> list[FileRecord]:
        """Those that clients see of a batch that has ended."""
        made = partial(
            FileRecord,
            owner=owner_of(batch.caller),
            purpose="batch_output",
            created_at=self.now,
            expires_at=self.now + batch.output_seconds,
        )
        files = []
        if batch.output_file_id is not None:
            name = f"{batch.id}_output.jsonl"
            files.append(made(id=batch.output_file_id, name=name, size=batch.output_bytes))
        if batch.error_file_id is not None:
            name = f"{batch.id}_error.jsonl"
            files.append(made(id=batch.error_file_id, name=name, size=batch.error_bytes))
        return files

    async def _change(
        self, batch_id: str, event: Event, owner: str | None = None, places: Sequence[Place] = ()
    ) -> BatchRecord | None:
        def how(batch: BatchRecord) -> BatchRecord:
            return advance(batch, event, self.now)

        return await self._run(lambda: self._database.change(batch_id, how, owner, places))

    async def _run(self, call: Callable[[], T], thread: ThreadPoolExecutor | None = None) -> T:
        if not self._pending.acquire(blocking=False):
            raise StoreUnavailable("too many requests are waiting for the file store", retry_after=1)
        try:
            future = (thread or self._thread).submit(self._prepared, call)
        except RuntimeError:
            self._pending.release()
            raise StoreUnavailable("the file store is closed") from None
        future.add_done_callback(lambda _: self._pending.release())
        try:
            async with asyncio.timeout(_CALL_SECONDS):  # `wait_for` may swallow a cancellation
                return await asyncio.wrap_future(future)
        except (sqlite3.Error, OSError) as error:  # OSError includes TimeoutError
            self._made = False  # perhaps somebody has removed it
            log.error("the file store in %s failed: %s", self.folder.root, error)
            reason = (error.strerror if isinstance(error, OSError) else None) or "see the server's log"
            raise StoreUnavailable(
                f"the folder for files cannot be used: {reason}; "
                "whoever runs the server can choose another one with --file-store",
                retry_after=10,
            ) from None
        except msgspec.MsgspecError as error:
            log.error("the file store in %s holds a record that cannot be read: %s", self.folder.root, error)
            raise StoreUnavailable("a record of the file store cannot be read") from None

    def _prepared(self, call: Callable[[], T]) -> T:
        if not self._made:
            self.folder.make()
            self._made = True
        return call()


def _found(batch: BatchRecord | None, batch_id: str) -> BatchRecord:
    if batch is None:
        raise NotFound(f"there is no batch {batch_id!r}", "batch_id")
    return batch


def close_lock(descriptor: int) -> None:
    """Another server may run the batch now."""
    os.close(descriptor)
