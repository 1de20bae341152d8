"""A store in a SQLite file: survives restarts, and several servers on one machine can share it."""

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from frontend.errors import StoreUnavailable
from frontend.sessions.failures import unavailable
from frontend.sessions.limits import StoreLimits, check_size
from ipc.model_files import REGULAR, kind_of

T = TypeVar("T")

_BUSY_SECONDS = 2.0  # maximum wait for another process's transaction
_RETRY_SECONDS = 0.01
_CALL_SECONDS = 5.0
_MAX_PENDING = 1024  # calls

# `used` orders the entries by their last use. Its index also covers `size`, which eviction adds up.
# The file is input like any other: a damaged row must neither fail a call nor stop eviction. Hence the casts,
# and total(), which never overflows.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL,
                                    expires REAL NOT NULL, used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS entries_by_use ON entries (used, size);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires);
"""
_TOUCH = "UPDATE entries SET used = (SELECT max(used) + 1 FROM entries) WHERE key = ?"
_READ = "SELECT CAST(value AS BLOB) FROM entries WHERE key = ? AND expires > ?"
_TOTAL = "SELECT count(*), total(size) FROM entries"
_OLDEST = "SELECT used, CAST(size AS INTEGER) FROM entries ORDER BY used"
_WRITE = "INSERT OR REPLACE INTO entries SELECT ?, ?, ?, ?, coalesce(max(used), 0) + 1 FROM entries"


class SqliteStore:
    """Implements `store.Store`. All calls run in a single thread, off the event loop."""

    def __init__(self, path: Path, limits: StoreLimits, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self._file = _File(path, limits, clock)
        self._thread = ThreadPoolExecutor(1, "sessions")
        self._pending = threading.BoundedSemaphore(_MAX_PENDING)

    async def get(self, key: str) -> bytes | None:
        return await self._run(lambda: self._file.get(key))

    async def put(self, key: str, value: bytes) -> None:
        check_size(value, self.limits)
        await self._run(lambda: self._file.put(key, value))

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        check_size(new, self.limits)
        return await self._run(lambda: self._file.replace(key, old, new))

    async def delete(self, key: str) -> bool:
        return await self._run(lambda: self._file.delete(key))

    async def close(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._run(self._file.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        if not self._pending.acquire(blocking=False):
            raise StoreUnavailable("too many requests are waiting for the session store", retry_after=1)
        try:
            future = self._thread.submit(call)
        except RuntimeError:
            self._pending.release()
            raise StoreUnavailable("the session store is closed") from None
        future.add_done_callback(lambda _: self._pending.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), _CALL_SECONDS)
        except (sqlite3.Error, OSError) as error:  # OSError includes TimeoutError
            raise unavailable(error) from None


class _File:
    """The blocking side of the store, used by its thread only."""

    def __init__(self, path: Path, limits: StoreLimits, clock: Callable[[], float]) -> None:
        self._path = path
        self.limits = limits
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def get(self, key: str) -> bytes | None:
        with self._transaction() as connection:
            value = self._value(connection, key)
            if value is not None:
                connection.execute(_TOUCH, (key,))
            return value

    def put(self, key: str, value: bytes) -> None:
        with self._transaction() as connection:
            self._write(connection, key, value)

    def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        with self._transaction() as connection:
            if self._value(connection, key) != old:
                return False
            self._write(connection, key, new)
            return True

    def delete(self, key: str) -> bool:
        with self._transaction() as connection:
            existed = self._value(connection, key) is not None
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            return existed

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may write. After any failure, the next call reopens the file."""
        try:
            if self._connection is None:
                self._connection = _open(self._path)
            with self._connection as connection:
                # IMMEDIATE, because a read lock that is upgraded later cannot wait for other writers.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except BaseException:
            self.close()
            raise

    def _value(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        row = connection.execute(_READ, (key, self._clock())).fetchone()
        return None if row is None else row[0]

    def _write(self, connection: sqlite3.Connection, key: str, value: bytes) -> None:
        now = self._clock()
        connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        row = (key, value, len(value), now + self.limits.ttl_seconds)
        connection.execute(_WRITE, row)
        self._evict(connection)

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Remove the least recently used entries until the limits hold."""
        count, size = connection.execute(_TOTAL).fetchone()
        rows = connection.execute(_OLDEST)
        last = None
        while count > self.limits.max_entries or size > self.limits.max_bytes:
            if (row := rows.fetchone()) is None:
                break
            last, freed = row
            count, size = count - 1, size - freed
        rows.close()
        if last is not None:
            connection.execute("DELETE FROM entries WHERE used <= ?", (last,))


def check_file(path: Path) -> None:
    """Raise OSError or sqlite3.Error if no store can be opened at this path. It is created if need be."""
    if (kind := kind_of(path)) not in ("", REGULAR):
        raise OSError(errno.EINVAL, f"it is {kind}")
    try:
        with contextlib.closing(_open(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # which needs the right to write
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # else another server is at work: it is fine
            raise


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = open_private(path, _SCHEMA, _BUSY_SECONDS)
    connection.text_factory = bytes  # damaged text must not fail a call
    return connection


def open_private(
    path: Path, schema: str, busy_seconds: float, *, check_same_thread: bool = True
) -> sqlite3.Connection:
    """A file that only its owner may read, with these tables. Raises OSError or sqlite3.Error."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=check_same_thread
    )
    try:
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Retries, because SQLite's own busy timeout does not cover this change of mode."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
