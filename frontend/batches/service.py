"""Files and batches of one server: the store, and what runs the batches once there are any."""

import asyncio
import logging
from collections.abc import Callable

from frontend.batches.folder import Folder, file_store_folder
from frontend.batches.record import BatchRecord
from frontend.batches.runner import Runner
from frontend.batches.runner_store import RunnerStore
from frontend.batches.storage import Storage
from frontend.batches.store import BatchStore, FileLimits
from frontend.caller import Caller
from frontend.config import Settings
from frontend.http.asgi import Application
from frontend.http.inside import Answer, ask
from frontend.observability.metrics import Metrics

_LINE_EXTRA_BYTES = 64 * 1024  # around the body of a request

log = logging.getLogger("nacelle.batches")


class Batches:
    """`app` answers the requests; it is set once it is built. `caller_of` returns who made a batch with their
    present rights, or None if their key is no longer valid."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Raises ConfigError. Nothing is written before the first file is uploaded."""
        limits = FileLimits(settings.max_file_store_bytes, settings.max_stored_files)
        self._storage = Storage(Folder(file_store_folder(settings.file_store)))
        self.store = BatchStore(self._storage, limits)
        self.app: Application | None = None
        self.caller_of: Callable[[Caller], Caller | None] = lambda caller: caller
        self._runner = Runner(
            RunnerStore(self._storage),
            self._ask,
            lambda caller: self.caller_of(caller),
            metrics,
            settings.max_batch_requests,
            settings.max_body_bytes + _LINE_EXTRA_BYTES,
        )
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Continue batches left by an earlier server, or by another one that shares the folder."""
        self._run()

    async def add(self, batch: BatchRecord) -> None:
        """Raises QueueFull, NotFound or StoreUnavailable."""
        await self.store.add_batch(batch)
        self._run()
        self._runner.look()

    async def cancel(self, batch_id: str, owner: str) -> BatchRecord:
        """Raises NotFound or StoreUnavailable."""
        batch = await self.store.cancel(batch_id, owner)
        self._runner.cancel(batch_id)
        return batch

    async def stop(self) -> None:
        """Running requests are aborted; the next server repeats them."""
        self._is_stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def close(self) -> None:
        """After `stop`: the store is closed."""
        self._storage.close()

    def _run(self) -> None:
        if self._task is None and not self._is_stopping:
            self._task = asyncio.create_task(self._runner.run())
            self._task.add_done_callback(_report)

    async def _ask(self, caller: Caller, path: str, body: bytes, request_id: str) -> Answer:
        assert self.app is not None
        return await ask(self.app, caller, path, body, headers=[(b"x-request-id", request_id.encode())])


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("batches are no longer run", exc_info=error)
