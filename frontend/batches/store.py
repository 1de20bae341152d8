"""The files and batches of clients, each of which sees its own."""

import os
from pathlib import Path
from typing import NamedTuple

from frontend.batches.database import Page
from frontend.batches.lifecycle import CancelAsked
from frontend.batches.record import BatchRecord, FileRecord, owner_of
from frontend.batches.storage import Storage
from frontend.errors import NotFound, QueueFull, RequestTooLarge
from frontend.shortened import quoted
from frontend.spool import Spool

MAX_LIVE_BATCHES = 1000


class FileLimits(NamedTuple):
    max_bytes: int  # of all files together
    max_files: int


class BatchStore:
    """Methods raise StoreUnavailable, besides the errors that they name."""

    def __init__(self, storage: Storage, limits: FileLimits) -> None:
        self._storage = storage
        self._folder, self._database, self._run = storage.folder, storage.database, storage.run
        self._limits = limits

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self._storage.now

    # --- files

    async def add_file(self, file: FileRecord, spool: Spool) -> None:
        """Raises RequestTooLarge where there is no room."""
        fd = os.dup(spool.fd)  # the upload may be closed meanwhile

        def copy() -> None:
            try:
                self._folder.store(file.id, fd, file.size)
            finally:
                os.close(fd)

        def add() -> bool:
            added = False
            try:
                added = self._database.add_file(file, *self._limits)
            finally:
                if not added:
                    self._folder.remove(file.id)
            return added

        await self._run(copy, slow=True)
        if not await self._run(add):
            most, files = self._limits
            raise RequestTooLarge(
                f"there is no room for this file: at most {files} files with {most} bytes in total are kept; "
                "delete files that are no longer needed",
                "file",
            )

    async def file(self, file_id: str, owner: str, param: str = "file_id") -> FileRecord:
        """Raises NotFound, which names the request's `param`."""
        found = await self._run(lambda: self._database.file(file_id, owner, self.now))
        if found is None:
            raise NotFound(f"there is no file {quoted(file_id)}", param)
        return found

    async def files(self, owner: str, page: Page) -> list[FileRecord]:
        """One more than `page.limit` if there are more. Raises NotFound for an unknown `page.after`."""
        found = await self._run(lambda: self._database.files(owner, page, self.now))
        if found is None:
            raise NotFound(f"after: there is no file {quoted(page.after or '')}", "after")
        return found

    async def remove_file(self, file_id: str, owner: str) -> None:
        """Raises NotFound."""

        def remove() -> bool:
            existed = self._database.remove_file(file_id, owner)
            if existed:
                self._folder.remove(file_id)
            return existed

        if not await self._run(remove):
            raise NotFound(f"there is no file {quoted(file_id)}", "file_id")

    def content(self, file_id: str) -> Path:
        return self._folder.content(file_id)

    # --- batches

    async def add_batch(self, batch: BatchRecord) -> None:
        """Raises QueueFull, and NotFound if the input file is gone."""

        def add() -> bool:
            try:
                self._folder.keep_input(batch.id, batch.input_file_id)
            except FileNotFoundError:
                raise NotFound(f"there is no file {quoted(batch.input_file_id)}", "input_file_id") from None
            added = False
            try:
                added = self._database.add_batch(batch, owner_of(batch.caller), MAX_LIVE_BATCHES)
            finally:
                if not added:
                    self._folder.forget_input(batch.id)
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
            raise NotFound(f"after: there is no batch {quoted(page.after or '')}", "after")
        return found

    async def cancel(self, batch_id: str, owner: str) -> BatchRecord:
        """Raises NotFound."""
        return _found(await self._storage.change(batch_id, CancelAsked(), owner), batch_id)


def _found(batch: BatchRecord | None, batch_id: str) -> BatchRecord:
    if batch is None:
        raise NotFound(f"there is no batch {quoted(batch_id)}", "batch_id")
    return batch
