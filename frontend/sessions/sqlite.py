"""A store in a SQLite file: survives restarts, and is shared by the server processes of one machine."""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from frontend.errors import StoreUnavailable
from frontend.sessions.limits import Limits, check_size
from frontend.sessions.store import unavailable

T = TypeVar("T")

_BUSY_SECONDS = 2.0  # waiting for another process's transaction
_RETRY_SECONDS = 0.01
_CALL_SECONDS = 5.0
_MAX_PENDING = 1024  # calls

# `used` orders the entries by their last use; its index also covers what making room has to add up.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL,
                                    expires REAL NOT NULL, used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS entries_by_use ON entries (used, size);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires);
"""
_TOUCH = "UPDATE entries SET used = (SELECT max(used) + 1 FROM entries) WHERE key = ?"
_WRITE = "INSERT OR REPLACE INTO entries SELECT ?, ?, ?, ?, coalesce(max(used), 0) + 1 FROM entries"


class SqliteStore:
    """Implements `store.Store`. All calls run in one thread, off the event loop."""

    def __init__(self, path: Path, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._file = _File(path, limits, clock)
        self._thread = ThreadPoolExecutor(1, "sessions")
        self._room = threading.BoundedSemaphore(_MAX_PENDING)

    async def get(self, key: str) -> bytes | None:
        return await self._run(lambda: self._file.get(key))

    async def put(self, key: str, value: bytes) -> None:
        check_size(value, self._limits)
        await self._run(lambda: self._file.put(key, value))

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        check_size(new, self._limits)
        return await self._run(lambda: self._file.replace(key, old, new))

    async def delete(self, key: str) -> bool:
        return await self._run(lambda: self._file.delete(key))

    async def close(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._run(self._file.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise StoreUnavailable("too many requests wait for the session store", retry_after=1)
        try:
            future = self._thread.submit(call)
        except RuntimeError:
            self._room.release()
            raise StoreUnavailable("the session store is closed") from None
        future.add_done_callback(lambda _: self._room.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), _CALL_SECONDS)
        except (sqlite3.Error, OSError) as error:  # TimeoutError among them
            raise unavailable(error) from None


class _File:
    """The calls, as the one thread makes them."""

    def __init__(self, path: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self._path = path
        self._limits = limits
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
            there = self._value(connection, key) is not None
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            return there

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may write. After any failure the file is opened anew."""
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")  # a read that turns into a write could not wait
                yield connection
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # nobody else's business
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            _enter_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _value(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        select = "SELECT value FROM entries WHERE key = ? AND expires > ?"
        row = connection.execute(select, (key, self._clock())).fetchone()
        return None if row is None else row[0]

    def _write(self, connection: sqlite3.Connection, key: str, value: bytes) -> None:
        now = self._clock()
        connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        row = (key, value, len(value), now + self._limits.ttl_seconds)
        connection.execute(_WRITE, row)
        self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        count, size = connection.execute("SELECT count(*), sum(size) FROM entries").fetchone()
        rows = connection.execute("SELECT used, size FROM entries ORDER BY used")
        last = None
        while count > self._limits.max_entries or size > self._limits.max_bytes:
            last, freed = rows.fetchone()
            count, size = count - 1, size - freed
        rows.close()
        if last is not None:
            connection.execute("DELETE FROM entries WHERE used <= ?", (last,))


def _enter_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait by itself while another process does the same."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
