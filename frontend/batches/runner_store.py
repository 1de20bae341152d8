"""What running batches needs of the store: locks, lines without an answer, and removing what has expired."""

import os
from collections.abc import Sequence
from functools import partial

from frontend.batches.input import Checked, Place, check
from frontend.batches.lifecycle import Answered, CancelAsked, Filed, Lost, Rejected, Validated, advance
from frontend.batches.output import Result
from frontend.batches.record import DEFAULT_FILE_SECONDS, BatchRecord, FileRecord, owner_of
from frontend.batches.storage import Storage

_ORPHAN_SECONDS = 3600.0  # more than any upload takes between its content and its record
_OLD_SECONDS = DEFAULT_FILE_SECONDS  # after its end a batch is removed


class RunnerStore:
    """Methods raise StoreUnavailable."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._folder, self._database, self._run = storage.folder, storage.database, storage.run

    @property
    def is_used(self) -> bool:
        """Whether anything was ever stored."""
        return self._folder.is_used

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self._storage.now

    async def live(self) -> list[BatchRecord]:
        return await self._run(self._database.live)

    async def current(self, batch_id: str) -> BatchRecord | None:
        return await self._run(lambda: self._database.batch(batch_id))

    async def lock(self, batch_id: str) -> int | None:
        """A descriptor that holds the batch until it is closed; None: another server has it."""
        return await self._run(lambda: self._folder.lock(batch_id))

    async def take_over(self, batch_id: str) -> BatchRecord | None:
        """A batch that was just locked, whichever server ran it before; None if it has ended."""

        def recover() -> BatchRecord | None:
            batch = self._database.batch(batch_id)
            if batch is None or not batch.is_live:
                return None
            sizes = self._folder.size(batch.output_id), self._folder.size(batch.error_id)
            return self._database.recover(batch_id, *sizes)

        return await self._run(recover)

    async def validate(self, batch: BatchRecord, max_line_bytes: int) -> BatchRecord | None:
        """Read the whole input of a batch that is being validated. Raises InputLost, as `read_line` does."""

        def read() -> Checked:
            with self._folder.open_input(batch.id) as file:
                return check(file, batch.endpoint, max_line_bytes)

        checked = await self._run(read, slow=True)
        if checked.errors:
            return await self._storage.change(batch.id, Rejected(checked.errors))
        event = Validated(len(checked.places), checked.model)
        return await self._storage.change(batch.id, event, places=checked.places)

    async def cancel_for(self, batch: BatchRecord, event: CancelAsked) -> BatchRecord | None:
        return await self._storage.change(batch.id, event)

    async def all_answered(self, batch: BatchRecord) -> BatchRecord | None:
        return await self._storage.change(batch.id, Answered())

    async def pending(self, batch_id: str, after: int, limit: int) -> list[Place]:
        return await self._run(lambda: self._database.pending(batch_id, after, limit))

    async def read_lines(self, batch_id: str, places: Sequence[Place]) -> list[bytes]:
        return await self._run(lambda: self._folder.read_input(batch_id, places))

    async def finish(self, batch_id: str, numbered: Sequence[tuple[int, Result]]) -> BatchRecord | None:
        return await self._run(lambda: self._database.finish(batch_id, numbered, self._folder.write))

    async def file_away(self, batch: BatchRecord, event: Filed | Lost) -> BatchRecord | None:
        """End a batch that has all the answers and errors that it will get: its files appear."""

        def end() -> BatchRecord | None:
            current = self._database.batch(batch.id)
            if current is None or not current.is_live:
                return current
            self._folder.complete(current.output_id, current.output_bytes)
            self._folder.complete(current.error_id, current.error_bytes)
            return self._database.change(
                batch.id,
                lambda found: advance(found, event, self.now),
                files=self._files_of,
            )

        ended = await self._run(end)
        await self.forget_input(batch.id)
        return ended

    async def forget_input(self, batch_id: str) -> None:
        """Remove the input of a batch that has ended, while it is locked."""

        def forget() -> None:
            self._folder.forget_input(batch_id)
            self._folder.forget_lock(batch_id)  # whoever waited for this one finds that the batch has ended

        await self._run(forget)

    async def remove_orphans(self) -> None:
        """Remove contents without a record: their server ended while it stored them."""

        def remove() -> None:
            old = self.now - _ORPHAN_SECONDS
            live = self._database.live()
            known = {name for batch in live for name in (batch.id, batch.output_id, batch.error_id)}
            known |= self._database.file_ids()
            self._folder.remove_unknown(known, old)

        await self._run(remove)

    async def sweep(self) -> None:
        """Remove what has expired."""

        def remove() -> None:
            for file_id in self._database.expired_files(self.now):
                self._folder.remove(file_id)
            self._database.remove_old_batches(self.now - _OLD_SECONDS)

        await self._run(remove)

    def _files_of(self, batch: BatchRecord) -> list[FileRecord]:
        """The files of an ended batch, as clients see them."""
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


def close_lock(descriptor: int) -> None:
    """From now on another server may run the batch."""
    os.close(descriptor)
