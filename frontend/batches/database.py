"""What is known of files, batches and their lines, in SQLite. Blocking."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from frontend.batches.input import Place
from frontend.batches.lifecycle import reopened
from frontend.batches.output import Result
from frontend.batches.record import BatchRecord, FileRecord
from frontend.sessions.sqlite import open_private
from frontend.usage import TokenUsage

Record = TypeVar("Record", BatchRecord, FileRecord)

BUSY_SECONDS = 5.0  # maximum wait for another server's transaction

# `live` is 1 for batches that have not ended. A line is done once `end` is set: the byte after its answer in
# the file of answers, or in that of errors where `failed` is 1.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
    owner TEXT NOT NULL, purpose TEXT NOT NULL, size INTEGER NOT NULL, expires INTEGER, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
    owner TEXT NOT NULL, live INTEGER NOT NULL, ended INTEGER, record BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS files_by_owner ON files (owner, number);
CREATE INDEX IF NOT EXISTS files_by_expiry ON files (expires);
CREATE INDEX IF NOT EXISTS batches_by_owner ON batches (owner, number);
CREATE INDEX IF NOT EXISTS batches_by_life ON batches (live, ended);
CREATE TABLE IF NOT EXISTS lines (batch TEXT NOT NULL, number INTEGER NOT NULL, begin INTEGER NOT NULL,
    length INTEGER NOT NULL, end INTEGER, failed INTEGER NOT NULL DEFAULT 0, usage BLOB,
    PRIMARY KEY (batch, number)) WITHOUT ROWID;
"""
_PENDING = """SELECT number, begin, length FROM lines WHERE batch = ? AND end IS NULL AND number > ?
    ORDER BY number LIMIT ?"""
_TABLES = {BatchRecord: "batches", FileRecord: "files"}


class Page(NamedTuple):
    """A part of a list. `after` is the id of the entry before it."""

    after: str | None = None
    limit: int = 20
    newest_first: bool = True
    purpose: str | None = None  # of files


class Database:
    """Used by one thread at a time; opened by the first call. Methods raise sqlite3.Error and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    # --- files

    def add_file(self, file: FileRecord, max_bytes: int, max_files: int) -> bool:
        """False if there is no room for it."""
        with self._transaction() as db:
            count, size = db.execute("SELECT count(*), total(size) FROM files").fetchone()
            if count + 1 > max_files or size + file.size > max_bytes:
                return False
            _insert_file(db, file)
            return True

    def file(self, file_id: str, owner: str, now: int) -> FileRecord | None:
        with self._transaction() as db:
            row = db.execute(
                "SELECT record FROM files WHERE id = ? AND owner = ? AND (expires IS NULL OR expires > ?)",
                (file_id, owner, now),
            ).fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=FileRecord)

    def remove_file(self, file_id: str, owner: str) -> bool:
        with self._transaction() as db:
            return db.execute("DELETE FROM files WHERE id = ? AND owner = ?", (file_id, owner)).rowcount > 0

    def files(self, owner: str, page: Page, now: int) -> list[FileRecord] | None:
        """One more than `page.limit` if there are more; None if `page.after` is not there."""
        where = "(expires IS NULL OR expires > ?)"
        values: list[Any] = [now]
        if page.purpose is not None:
            where, values = f"{where} AND purpose = ?", [*values, page.purpose]
        return self._listed(FileRecord, owner, page, where, values)

    def expired_files(self, now: int) -> list[str]:
        """The ids of files that expired; they are removed from the database."""
        with self._transaction() as db:
            rows = db.execute("DELETE FROM files WHERE expires <= ? RETURNING id", (now,)).fetchall()
            return [row[0] for row in rows]

    def file_ids(self) -> set[str]:
        with self._transaction() as db:
            return {row[0] for row in db.execute("SELECT id FROM files")}

    # --- batches

    def add_batch(self, batch: BatchRecord, owner: str, max_live: int) -> bool:
        """False if there are too many that have not ended."""
        with self._transaction() as db:
            if db.execute("SELECT count(*) FROM batches WHERE live = 1").fetchone()[0] >= max_live:
                return False
            db.execute(
                "INSERT INTO batches (id, owner, live, ended, record) VALUES (?, ?, 1, NULL, ?)",
                (batch.id, owner, msgspec.json.encode(batch)),
            )
            return True

    def batch(self, batch_id: str, owner: str | None = None) -> BatchRecord | None:
        """Without an `owner`, whoever owns it."""
        with self._transaction() as db:
            return _read_batch(db, batch_id, owner)

    def batches(self, owner: str, page: Page) -> list[BatchRecord] | None:
        """As `files`."""
        return self._listed(BatchRecord, owner, page, "1", [])

    def live(self) -> list[BatchRecord]:
        with self._transaction() as db:
            rows = db.execute("SELECT record FROM batches WHERE live = 1 ORDER BY number").fetchall()
            return [msgspec.json.decode(row[0], type=BatchRecord) for row in rows]

    def remove_old_batches(self, ended_before: int) -> None:
        """Remove batches that ended by this time."""
        with self._transaction() as db:
            db.execute("DELETE FROM batches WHERE live = 0 AND ended <= ?", (ended_before,))

    def change(
        self,
        batch_id: str,
        how: Callable[[BatchRecord], BatchRecord],
        owner: str | None = None,
        places: Sequence[Place] = (),
        files: Callable[[BatchRecord], Sequence[FileRecord]] = lambda _: (),
    ) -> BatchRecord | None:
        """The batch after the change, which may add lines and files, in one transaction.

        None if there is no such batch.
        """
        with self._transaction() as db:
            before = _read_batch(db, batch_id, owner)
            if before is None:
                return None
            after = how(before)
            if after is before:
                return before
            rows = ((batch_id, *place) for place in places)
            db.executemany("INSERT INTO lines (batch, number, begin, length) VALUES (?, ?, ?, ?)", rows)
            for file in files(after):
                _insert_file(db, file)
            if not after.is_live:
                db.execute("DELETE FROM lines WHERE batch = ?", (batch_id,))
            _write_batch(db, after)
            return after

    # --- lines

    def pending(self, batch_id: str, after: int, limit: int) -> list[Place]:
        """The first lines after line `after` that have no answer."""
        with self._transaction() as db:
            return [Place(*row) for row in db.execute(_PENDING, (batch_id, after, limit)).fetchall()]

    def finish(
        self, batch_id: str, numbered: Sequence[tuple[int, Result]], write: Callable[[str, int, bytes], None]
    ) -> BatchRecord | None:
        """Record the results of lines that have none. `write(file id, offset, data)` writes each one to its
        file before it is recorded. None if there is no such batch."""
        with self._transaction() as db:
            batch = _read_batch(db, batch_id, None)
            if batch is None:
                return None
            for number, result in numbered:
                batch = _finish(db, batch, number, result, write)
            _write_batch(db, batch)
            return batch

    def recover(self, batch_id: str, output_size: int, error_size: int) -> BatchRecord | None:
        """Take a batch over from a server that ended: lines whose answers are missing from the files become
        unanswered. Answers go missing only where the machine lost power."""
        with self._transaction() as db:
            batch = _read_batch(db, batch_id, None)
            if batch is None or (batch.output_bytes <= output_size and batch.error_bytes <= error_size):
                return batch
            for failed, size in ((0, output_size), (1, error_size)):
                db.execute(
                    "UPDATE lines SET end = NULL, failed = 0 WHERE batch = ? AND failed = ? AND end > ?",
                    (batch_id, failed, size),
                )
            batch = reopened(_recounted(db, batch))
            _write_batch(db, batch)
            return batch

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _listed(
        self, kind: type[Record], owner: str, page: Page, where: str, values: Sequence[Any]
    ) -> list[Record] | None:
        table = _TABLES[kind]
        sign, order = ("<", "DESC") if page.newest_first else (">", "ASC")
        with self._transaction() as db:
            if page.after is not None:
                found = db.execute(
                    f"SELECT number FROM {table} WHERE id = ? AND owner = ?",  # noqa: S608 - our own names
                    (page.after, owner),
                ).fetchone()
                if found is None:
                    return None
                where, values = f"{where} AND number {sign} ?", [*values, found[0]]
            rows = db.execute(
                f"SELECT record FROM {table} WHERE owner = ? AND {where} "  # noqa: S608
                f"ORDER BY number {order} LIMIT ?",
                (owner, *values, page.limit + 1),
            ).fetchall()
            return [msgspec.json.decode(row[0], type=kind) for row in rows]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """After any failure, the next call opens the file again."""
        try:
            if self._connection is None:
                # Calls come from one thread at a time, not always the same.
                self._connection = open_private(self._path, _SCHEMA, BUSY_SECONDS, check_same_thread=False)
            with self._connection as connection:
                # A transaction that begins with a read could not wait for writers later.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except BaseException:
            self.close()
            raise


def _finish(
    db: sqlite3.Connection,
    batch: BatchRecord,
    number: int,
    result: Result,
    write: Callable[[str, int, bytes], None],
) -> BatchRecord:
    at = batch.error_bytes if result.failed else batch.output_bytes
    end = at + len(result.line)
    changed = db.execute(
        "UPDATE lines SET end = ?, failed = ?, usage = ? WHERE batch = ? AND number = ? AND end IS NULL",
        (end, result.failed, msgspec.json.encode(result.usage), batch.id, number),
    ).rowcount
    if not changed:
        return batch
    write(batch.error_id if result.failed else batch.output_id, at, result.line)
    if result.failed:
        return msgspec.structs.replace(batch, failed=batch.failed + 1, error_bytes=end)
    return msgspec.structs.replace(
        batch, completed=batch.completed + 1, output_bytes=end, usage=batch.usage + result.usage
    )


def _recounted(db: sqlite3.Connection, batch: BatchRecord) -> BatchRecord:
    """The batch with counts computed from its lines."""
    counts, ends, usage = [0, 0], [0, 0], TokenUsage()
    rows = db.execute("SELECT end, failed, usage FROM lines WHERE batch = ? AND end IS NOT NULL", (batch.id,))
    for end, failed, used in rows:
        counts[failed] += 1
        ends[failed] = max(ends[failed], end)
        usage += msgspec.json.decode(used, type=TokenUsage)
    return msgspec.structs.replace(
        batch,
        completed=counts[0],
        failed=counts[1],
        output_bytes=ends[0],
        error_bytes=ends[1],
        usage=usage,
    )


def _read_batch(db: sqlite3.Connection, batch_id: str, owner: str | None) -> BatchRecord | None:
    row = db.execute("SELECT record, owner FROM batches WHERE id = ?", (batch_id,)).fetchone()
    if row is None or (owner is not None and row[1] != owner):
        return None
    return msgspec.json.decode(row[0], type=BatchRecord)


def _write_batch(db: sqlite3.Connection, batch: BatchRecord) -> None:
    values = (batch.is_live, batch.ended_at, msgspec.json.encode(batch), batch.id)
    db.execute("UPDATE batches SET live = ?, ended = ?, record = ? WHERE id = ?", values)


def _insert_file(db: sqlite3.Connection, file: FileRecord) -> None:
    db.execute(
        "INSERT INTO files (id, owner, purpose, size, expires, record) VALUES (?, ?, ?, ?, ?, ?)",
        (file.id, file.owner, file.purpose, file.size, file.expires_at, msgspec.json.encode(file)),
    )
