"""How calls reach the folder of batches and its database: in threads, bounded in number and in time."""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from frontend.batches.database import Database
from frontend.batches.folder import DATABASE, Folder
from frontend.batches.input import Place
from frontend.batches.lifecycle import Event, advance
from frontend.batches.record import BatchRecord
from frontend.errors import StoreUnavailable

T = TypeVar("T")

_MAX_PENDING = 1024  # calls
_CALL_SECONDS = 300.0

log = logging.getLogger("nacelle.batches")


class Storage:
    """Methods raise StoreUnavailable where the folder or its database cannot be used."""

    def __init__(self, folder: Folder, now: Callable[[], float] = time.time) -> None:
        """`now` returns Unix seconds."""
        self.folder = folder
        self.database = Database(folder.root / DATABASE)
        self._now = now
        self._thread = ThreadPoolExecutor(1, "batches")
        self._slow = ThreadPoolExecutor(2, "batch-files")  # what reads or writes whole files takes seconds
        self._pending = threading.BoundedSemaphore(_MAX_PENDING)
        self._made = False

    @property
    def now(self) -> int:
        return int(self._now())

    async def run(self, call: Callable[[], T], *, slow: bool = False) -> T:
        """Run `call` in a thread and return its result. `slow`: it reads or writes a whole file."""
        if not self._pending.acquire(blocking=False):
            raise StoreUnavailable("too many requests are waiting for the file store", retry_after=1)
        try:
            future = (self._slow if slow else self._thread).submit(self._prepared, call)
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
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("the file store in %s holds a record that cannot be read: %s", self.folder.root, error)
            raise StoreUnavailable("a record of the file store cannot be read") from None

    def _prepared(self, call: Callable[[], T]) -> T:
        if not self._made:
            self.folder.make()
            self._made = True
        return call()

    async def change(
        self, batch_id: str, event: Event, owner: str | None = None, places: Sequence[Place] = ()
    ) -> BatchRecord | None:
        def how(batch: BatchRecord) -> BatchRecord:
            return advance(batch, event, self.now)

        return await self.run(lambda: self.database.change(batch_id, how, owner, places))

    def close(self) -> None:
        self._thread.submit(self.database.close)
        self._thread.shutdown(wait=False)
        self._slow.shutdown(wait=False, cancel_futures=True)
