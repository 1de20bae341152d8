"""What every store promises, held against all three with the real thing behind them."""

import asyncio
import contextlib
import os
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
import redis

from frontend.config import ConfigError
from frontend.errors import RequestTooLarge, StoreUnavailable
from frontend.sessions.limits import StoreLimits
from frontend.sessions.memory import MemoryStore
from frontend.sessions.sqlite import SqliteStore
from frontend.sessions.store import check_store, open_store
from tests.frontend.sessions.conftest import ROOMY, RedisServer, opened, until

SMALL = StoreLimits(ttl_seconds=60, max_entries=3, max_bytes=1000)


def test_what_was_put_is_there_until_it_is_deleted(url):
    async def story():
        async with opened(url) as store:
            assert await store.get("a") is None
            assert not await store.delete("a")
            await store.put("a", b"\x00\xff bytes")
            await store.put("a", b"newer")
            assert await store.get("a") == b"newer"
            assert await store.get("b") is None
            assert await store.delete("a")
            assert await store.get("a") is None

    asyncio.run(story())


def test_any_text_is_a_key(url):
    async def story():
        async with opened(url) as store:
            keys = ["", "é / *?[a]", "'; DROP TABLE entries", "x" * 5000]
            for key in keys:
                await store.put(key, key.encode())
            assert [await store.get(key) for key in keys] == [key.encode() for key in keys]

    asyncio.run(story())


def test_values_expire(url):
    async def story():
        async with opened(url, msgspec.structs.replace(ROOMY, ttl_seconds=0.05)) as store:
            await store.put("a", b"x")

            async def gone():
                return await store.get("a") is None

            await until(gone, "still there")
            assert not await store.delete("a")
            assert await store.replace("a", None, b"y")

    asyncio.run(story())


def test_a_value_is_replaced_only_by_whoever_knows_it(url):
    async def story():
        async with opened(url) as store:
            assert not await store.replace("a", b"x", b"y")
            assert await store.replace("a", None, b"")
            assert not await store.replace("a", None, b"y")
            assert not await store.replace("a", b"other", b"y")
            assert await store.replace("a", b"", b"y")
            assert await store.get("a") == b"y"

    asyncio.run(story())


def test_of_many_who_replace_at_once_one_wins(url):
    async def story():
        async with opened(url) as store:
            await store.put("a", b"old")
            won = await asyncio.gather(*(store.replace("a", b"old", bytes([i])) for i in range(20)))
            assert won.count(True) == 1
            assert await store.get("a") == bytes([won.index(True)])

    asyncio.run(story())


def test_a_value_above_the_bound_is_refused_and_the_old_one_stays(url):
    async def story():
        async with opened(url, SMALL) as store:
            await store.put("a", b"x" * 250)
            for call in (store.put("a", b"x" * 251), store.replace("a", b"x" * 250, b"y" * 251)):
                with pytest.raises(RequestTooLarge, match="251"):
                    await call
            assert await store.get("a") == b"x" * 250

    asyncio.run(story())


@pytest.mark.parametrize("url", ["memory", "sqlite"], indirect=True)
def test_the_least_recently_used_goes_first(url):
    async def story():
        async with opened(url, SMALL) as store:
            for key in "abc":
                await store.put(key, b"x")
            await store.get("a")
            await store.put("d", b"x")
            assert [await store.get(key) for key in "abcd"] == [b"x", None, b"x", b"x"]

    asyncio.run(story())


@pytest.mark.parametrize("url", ["memory", "sqlite"], indirect=True)
def test_the_bytes_of_all_values_are_bounded(url):
    async def story():
        async with opened(url, msgspec.structs.replace(SMALL, max_entries=100)) as store:
            for number in range(10):
                await store.put(str(number), b"x" * 240)
            there = [number for number in range(10) if await store.get(str(number)) is not None]
            assert there == [6, 7, 8, 9]
            await store.put("6", b"x")  # a smaller value makes room again
            await store.put("new", b"x" * 239)
            assert await store.get("7") is not None

    asyncio.run(story())


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
def test_another_server_sees_the_same_values(url):
    async def story():
        async with opened(url) as one, opened(url) as other:
            await one.put("a", b"x")
            assert await other.get("a") == b"x"
            assert await other.replace("a", b"x", b"y")
            assert not await one.replace("a", b"x", b"z")
        async with opened(url) as later:
            assert await later.get("a") == b"y"

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_reading_does_not_prolong_a_life(kind, tmp_path):
    async def story():
        now = 1000.0
        clock = lambda: now  # noqa: E731
        store = MemoryStore(SMALL, clock) if kind == "memory" else SqliteStore(tmp_path / "s", SMALL, clock)
        await store.put("a", b"x")
        now += 59
        assert await store.get("a") == b"x"
        now += 1
        assert await store.get("a") is None
        await store.close()

    asyncio.run(story())


def test_a_redis_that_is_down_is_a_503_and_is_found_again(redis_server: RedisServer):
    async def story():
        async with opened(redis_server.url) as store:
            await store.put("a", b"x")
            redis_server.stop()
            for call in (
                store.get("a"),
                store.put("a", b"x"),
                store.delete("a"),
                store.replace("a", None, b""),
            ):
                with pytest.raises(StoreUnavailable) as caught:
                    await call
                assert caught.value.status == 503
            redis_server.start()
            await store.put("a", b"y")
            assert await store.get("a") == b"y"

    asyncio.run(story())


def test_a_redis_that_hangs_is_a_503_soon(redis_server: RedisServer, monkeypatch):
    monkeypatch.setattr("frontend.sessions.redis._SOCKET_SECONDS", 0.3)

    async def story():
        async with opened(redis_server.url) as store:
            await store.put("a", b"x")
            redis_server.pause()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await store.get("a")
            assert time.monotonic() - began < 2
            redis_server.resume()
            assert await store.get("a") == b"x"

    asyncio.run(story())


def test_what_went_wrong_is_for_the_log_alone(redis_server: RedisServer, caplog):
    async def story():
        async with opened(redis_server.url) as store:
            redis_server.stop()
            with pytest.raises(StoreUnavailable) as caught:
                await store.get("a")
            assert str(redis_server.port) not in caught.value.message
            assert str(redis_server.port) in caplog.text

    asyncio.run(story())


def test_a_file_that_cannot_be_opened_is_a_503_until_it_can(tmp_path, caplog):
    async def story():
        path = tmp_path / "sessions.db"
        path.mkdir()
        async with opened(f"sqlite:{path}") as store:
            with pytest.raises(StoreUnavailable):
                await store.get("a")
            path.rmdir()
            path.write_bytes(b"this is no database" * 100)
            with pytest.raises(StoreUnavailable):
                await store.put("a", b"x")
            assert "not a database" in caplog.text
            path.unlink()
            await store.put("a", b"x")
            assert await store.get("a") == b"x"

    asyncio.run(story())


def test_a_file_that_breaks_while_it_is_in_use_is_a_503_until_it_is_replaced(tmp_path):
    async def story():
        path = tmp_path / "sessions.db"
        async with opened(f"sqlite:{path}") as store:
            await store.put("a", b"x" * 10_000)
            for part in tmp_path.iterdir():
                part.write_bytes(b"\xff" * part.stat().st_size)
            with pytest.raises(StoreUnavailable):
                await store.put("a", b"y")
            for part in tmp_path.iterdir():
                part.unlink()
            await store.put("a", b"z")
            assert await store.get("a") == b"z"

    asyncio.run(story())


def test_two_servers_that_write_at_once_wait_for_each_other(tmp_path):
    async def story():
        url = f"sqlite:{tmp_path / 's'}"
        async with opened(url) as one, opened(url) as other:
            calls = [store.replace(f"{i}", None, b"x") for i in range(100) for store in (one, other)]
            assert (await asyncio.gather(*calls)).count(True) == 100

    asyncio.run(story())


def test_a_file_that_somebody_else_locks_is_a_503(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("frontend.sessions.sqlite._BUSY_SECONDS", 0.05)

    async def story():
        path = tmp_path / "sessions.db"
        async with opened(f"sqlite:{path}") as store:
            await store.put("a", b"x")
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await store.put("a", b"y")
            assert "locked" in caplog.text
            other.close()
            assert await store.get("a") == b"x"

    asyncio.run(story())


def test_a_closed_file_store_says_so(tmp_path):
    async def story():
        store = open_store(f"sqlite:{tmp_path / 's'}", ROOMY)
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.get("a")

    asyncio.run(story())


def test_a_session_file_is_for_its_owner_alone(tmp_path):
    async def story():
        async with opened(f"sqlite:{tmp_path / 's.db'}") as store:
            await store.put("a", b"x")
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}

    asyncio.run(story())


@pytest.mark.parametrize("value", ["text", b"\xff\xfe bytes", 5, 2.5])
def test_a_damaged_row_is_bytes_like_any_other_and_can_be_replaced(tmp_path, value):
    async def story():
        path = tmp_path / "s"
        async with opened(f"sqlite:{path}", SMALL) as store:
            await store.put("a", b"x")
            with sqlite3.connect(path) as other:
                other.execute("UPDATE entries SET value = CAST(? AS TEXT)", (value,))
            other.close()
            found = await store.get("a")
            assert isinstance(found, bytes)
            assert await store.replace("a", found, b"y")
            assert await store.get("a") == b"y"

    asyncio.run(story())


def test_damaged_text_in_a_row_does_not_stop_eviction(tmp_path):
    async def story():
        path = tmp_path / "s"
        async with opened(f"sqlite:{path}", SMALL) as store:
            await store.put("a", b"x")
            with sqlite3.connect(path) as other:
                other.execute("UPDATE entries SET used = CAST(x'ff' AS TEXT)")
            other.close()
            for number in range(10):
                await store.put(str(number), b"y")
            assert await store.get("9") == b"y"

    asyncio.run(story())


@pytest.mark.parametrize("column", ["size", "expires", "used"])
@pytest.mark.parametrize("value", ["text", b"\xff", -(2**63), 2**63 - 1, 1e300])
def test_damaged_numbers_of_a_row_do_not_fail_calls_or_stop_eviction(tmp_path, column, value):
    async def story():
        path = tmp_path / "s"
        async with opened(f"sqlite:{path}", SMALL) as store:
            await store.put("a", b"x")
            with sqlite3.connect(path) as other:
                other.execute(f"UPDATE entries SET {column} = ?", (value,))
            other.close()
            assert await store.get("a") in (b"x", None)
            for number in range(10):
                await store.put(str(number), b"y")
            there = [number for number in range(10) if await store.get(str(number)) is not None]
            assert 1 <= len(there) <= SMALL.max_entries
            assert there[-1] == 9

    asyncio.run(story())


def test_a_redis_key_of_another_type_counts_as_absent_and_is_overwritten(redis_server: RedisServer):
    async def story():
        async with opened(redis_server.url) as store:
            with redis.Redis(port=redis_server.port) as other:
                for write in (store.put("a", b"x"), store.replace("a", None, b"x")):
                    other.delete("nacelle:a")
                    other.rpush("nacelle:a", "a list")
                    assert await store.get("a") is None
                    assert not await store.replace("a", b"old", b"y")
                    await write
                    assert await store.get("a") == b"x"

    asyncio.run(story())


def test_values_are_bytes_whatever_the_url_of_a_redis_says(redis_server: RedisServer):
    async def story():
        async with opened(f"{redis_server.url}?decode_responses=1") as store:
            await store.put("a", b"\xff")
            assert await store.get("a") == b"\xff"

    asyncio.run(story())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "sqlite:",
        "sqlite://x",
        "file:x",
        "http://secret@x",
        "redis://x:secret/0",
        "redis://x/0?secret=1",
    ],
)
def test_a_url_that_names_no_store_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        open_store(url, ROOMY)
    assert "secret" not in str(caught.value)


def _closed(folder: Path) -> str:
    (folder / "file").touch()
    return str(folder / "file" / "s.db")


def _no_database(folder: Path) -> str:
    (folder / "s.db").write_bytes(b"not a database" * 100)
    return str(folder / "s.db")


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "s.db")
    return str(folder / "s.db")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (str, "it is a folder"),
        (_closed, "Not a directory|File exists"),
        (_no_database, "file is not a database"),
        (_fifo, "it is a FIFO"),
        (lambda _: "/proc/s.db", "No such file"),
        (lambda folder: str(folder / ("a" * 300)), "File name too long"),
    ],
)
def test_a_sqlite_file_that_cannot_be_used_is_an_error_at_start(tmp_path, path, reason):
    with pytest.raises(ConfigError, match=f"^session_store: cannot use .*(?:{reason}).*--session-store$"):
        check_store(f"sqlite:{path(tmp_path)}")


def test_a_usable_or_busy_store_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("frontend.sessions.sqlite._BUSY_SECONDS", 0.05)
    for url in ("memory:", f"sqlite:{tmp_path / 'new' / 's.db'}", "redis://127.0.0.1:9"):
        check_store(url)
    with contextlib.closing(sqlite3.connect(tmp_path / "new" / "s.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        check_store(f"sqlite:{tmp_path / 'new' / 's.db'}")
