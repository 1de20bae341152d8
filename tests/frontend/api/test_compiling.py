"""Schemas that may take long are compiled in processes of their own."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from frontend.api import compiling
from frontend.api.compiling import Compilers, in_thread
from frontend.api.schema.formats import constraint_at
from frontend.errors import BadRequest, ClientGone, Overloaded
from frontend.http.client import Client
from frontend.structured import ConstraintError, Format, json_schema, outputs, regex
from frontend.structured.cache import Deferred, deferring, may_take_long


@outputs.cache.memoize
def endless(constraint: object) -> Format:
    """A compiler for these tests, which the worker finds under its name."""
    while constraint != {"pattern": "quick"}:
        pass
    return {"type": "quick"}


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compilers]:
    found = Compilers(workers=1, cpu_seconds=1)
    monkeypatch.setattr(compiling, "compilers", lambda: found)
    yield found
    found.close()


def unique(name: str) -> dict[str, Any]:
    """A schema that no other test compiles and that may take long."""
    return {"type": "string", "pattern": f"^{name}{os.getpid()}$"}


def deferred(constraint: Any) -> Deferred:
    with deferring() as later:
        endless(constraint)
    (found,) = later.take()
    return found


def pid_of(pool: Compilers) -> int:
    process = pool._all[0]._process
    assert process is not None
    return process.pid


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_all_constraints_of_a_pass_are_compiled_before_the_next(pool: Compilers) -> None:
    passes = []

    def work() -> list[Format]:
        passes.append(1)
        return [json_schema({"properties": {"a": unique(f"pass{number}")}}) for number in range(6)]

    assert [found["type"] for found in asyncio.run(in_thread(work))] == ["grammar"] * 6
    assert len(passes) == 2


def test_closing_ends_what_is_compiled_and_what_waits(pool: Compilers) -> None:
    async def scenario() -> None:
        running, waiting = (
            asyncio.create_task(pool.compile(deferred({"pattern": name}), None, 60)) for name in "rw"
        )
        await until(lambda: pool._all[0]._process)
        pool.close()
        for task in (running, waiting):
            with pytest.raises(ClientGone):
                await task
        assert pool._all[0]._process is None
        assert (await in_thread(endless, {"pattern": "quick"}))["type"] == "quick"

    asyncio.run(scenario())


def test_a_constraint_that_waits_gives_its_place_up_when_its_client_leaves(pool: Compilers) -> None:
    async def scenario() -> None:
        client = Client(time.monotonic)
        running = asyncio.create_task(pool.compile(deferred({"pattern": "runs"}), None, 60))
        await until(lambda: pool._all[0]._process)
        waiting = asyncio.create_task(pool.compile(deferred({"pattern": "waits too"}), client, 60))
        await until(lambda: pool._waiting == 2)
        client.leave()
        with pytest.raises(ClientGone):
            await waiting
        assert pool._waiting == 1
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "constraint",
    [
        [r"\w*\d*\s*" * 40],
        {"properties": {name: {"type": "string", "maxLength": 99} for name in "abcdefghijkl"}},
        {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "integer"}]},
    ],
)
def test_what_repeats_or_combines_may_take_long(constraint: object) -> None:
    assert may_take_long(msgspec.msgpack.encode(constraint))


def test_small_schemas_are_quick_and_others_may_take_long() -> None:
    assert not may_take_long(b"properties city type string")
    assert may_take_long(b"x" * 1000)
    assert may_take_long(b"pattern")


def test_the_outcome_is_that_of_the_compiler_and_is_kept(pool: Compilers) -> None:
    schema = unique("kept")

    async def scenario() -> None:
        apart = await in_thread(json_schema, schema)
        pool.close()
        assert await in_thread(json_schema, schema) is apart  # nothing is compiled again
        assert pool._all[0]._process is None

    asyncio.run(scenario())


def test_several_constraints_of_one_request_are_compiled(pool: Compilers) -> None:
    def work() -> list[Format]:
        return [json_schema(unique("a")), regex(f"[ab]{{3}}{os.getpid()}"), json_schema({"type": "null"})]

    assert [found["type"] for found in asyncio.run(in_thread(work))] == ["grammar"] * 3


def test_a_fault_is_named_as_without_another_process(pool: Compilers) -> None:
    def work() -> None:
        with constraint_at("response_format.json_schema.schema"):
            json_schema({"properties": {"a": {"pattern": f"(?=a)b{os.getpid()}"}}})

    with pytest.raises(BadRequest) as caught:
        asyncio.run(in_thread(work))
    assert caught.value.param == "response_format.json_schema.schema.properties.a.pattern"


def test_what_takes_too_long_is_refused_by_the_name_of_its_field(pool: Compilers) -> None:
    def work() -> None:
        with constraint_at("tools[0].function.parameters"):
            endless({"pattern": "slow"})

    ticks = 0

    async def scenario() -> None:
        nonlocal ticks
        task = asyncio.create_task(in_thread(work))
        while not task.done():
            await asyncio.sleep(0.001)
            ticks += 1
        await task

    with pytest.raises(BadRequest, match=r"tools\[0\].function.parameters: takes longer than 1 s") as caught:
        asyncio.run(scenario())
    assert ticks >= 20  # the event loop went on
    assert caught.value.param == "tools[0].function.parameters"
    with pytest.raises(ConstraintError):  # and at once from now on
        endless({"pattern": "slow"})


def test_a_killed_worker_is_replaced(pool: Compilers) -> None:
    async def scenario() -> None:
        await in_thread(json_schema, unique("before"))
        first = pid_of(pool)
        os.kill(first, signal.SIGKILL)
        assert (await in_thread(json_schema, unique("after")))["type"] == "grammar"
        assert pid_of(pool) != first

    asyncio.run(scenario())


def test_a_worker_that_dies_twice_over_a_schema_is_an_error_of_this_request(pool: Compilers) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(in_thread(endless, {"pattern": "dies"}))
        killed: set[int] = set()
        while len(killed) < 2:
            await until(lambda: pool._all[0]._process and pid_of(pool) not in killed)
            killed.add(pid_of(pool))
            os.kill(pid_of(pool), signal.SIGKILL)
        with pytest.raises(ConstraintError, match="SIGKILL"):
            await task

    asyncio.run(scenario())


def test_a_client_that_leaves_ends_the_work(pool: Compilers) -> None:
    async def scenario() -> None:
        client = Client(time.monotonic)
        task = asyncio.create_task(pool.compile(deferred({"pattern": "left"}), client, 60))
        await until(lambda: pool._all[0]._process)
        process = pool._all[0]._process
        assert process is not None
        client.leave()
        with pytest.raises(ClientGone):
            await task
        assert process.poll() == -signal.SIGKILL
        assert (await in_thread(endless, {"pattern": "quick"}))["type"] == "quick"

    asyncio.run(scenario())


def test_waiting_has_a_deadline_and_a_bound(pool: Compilers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        with pytest.raises(Overloaded):
            await pool.compile(deferred({"pattern": "waits"}), None, 0.01)
        monkeypatch.setattr(compiling, "WAITING", 0)
        with pytest.raises(Overloaded):
            await pool.compile(deferred({"pattern": "waits"}), None, 60)

    asyncio.run(scenario())
