"""Running batches against a stand-in for the application."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from frontend.batches.folder import Folder
from frontend.batches.input import Place
from frontend.batches.lines import MAX_WAITING, Lines
from frontend.batches.record import BatchRecord, BatchState, FileRecord
from frontend.batches.runner import Runner
from frontend.batches.runner_store import RunnerStore
from frontend.batches.service import Batches
from frontend.batches.storage import Storage
from frontend.batches.store import BatchStore, FileLimits
from frontend.caller import Caller, Limits
from frontend.config import Settings
from frontend.http.inside import Answer
from frontend.observability.metrics import Metrics
from frontend.spool import Spools
from tests.frontend.batches.made import batch, line

OK = Answer(200, [], b'{"usage":{"prompt_tokens":5,"completion_tokens":2}}')


class World:
    """A folder, an application that answers with `answer`, and servers that come and go."""

    def __init__(self, root: Path, max_requests: int) -> None:
        self.root, self.max_requests = root, max_requests
        self.metrics = Metrics()
        self.now = 1000.0
        self.asked: list[tuple[str, str]] = []  # key and prompt
        self.running = self.most_running = 0
        self.answer: Callable[[str], Awaitable[Answer]] = self.at_once
        self.revoked: set[str | None] = set()
        self._open()
        self._moved = asyncio.Event()

    def _open(self) -> None:
        self.storage = Storage(Folder(self.root / "kept"), lambda: self.now)
        self.store = BatchStore(self.storage, FileLimits(10**6, 100))
        self.runner_store = RunnerStore(self.storage)

    async def sleep(self, seconds: float) -> None:
        """By the clock that only `advance` moves."""
        due = self.now + seconds
        while self.now < due:
            await self._moved.wait()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def at_once(self, prompt: str) -> Answer:
        return OK

    async def slowly(self, prompt: str) -> Answer:
        await asyncio.sleep(0.001)
        return OK

    async def ask(self, caller: Caller, path: str, body: bytes, request_id: str) -> Answer:
        assert caller.is_batch
        prompt = json.loads(body)["prompt"]
        self.asked.append((caller.key_id or "", prompt))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.answer(prompt)
        finally:
            self.running -= 1

    def start(self) -> "asyncio.Task[None]":
        """A server."""
        self._open()
        self.runner = Runner(
            self.runner_store,
            self.ask,
            lambda caller: None if caller.key_id in self.revoked else caller,
            self.metrics,
            self.max_requests,
            1000,
            self.sleep,
        )
        return asyncio.create_task(self.runner.run())

    async def stop(self, server: "asyncio.Task[None]") -> None:
        server.cancel()
        await asyncio.wait([server])
        self.storage.close()

    async def add(self, name: str, count: int, **fields: Any) -> None:
        prompts = [f"{name}{number}" for number in range(count)]
        data = b"".join(line(prompt, body={"model": "m", "prompt": prompt}) for prompt in prompts)
        spool = Spools(self.root, 10**6).create()
        await spool.write(data)
        file = FileRecord(
            id=f"file-{name}", owner="alice", name=name, purpose="batch", size=len(data), created_at=1
        )
        await self.store.add_file(file, spool)
        spool.close()
        ids = {"id": name, "input_file_id": file.id, "output_id": f"{name}-out", "error_id": f"{name}-err"}
        await self.store.add_batch(batch(**(ids | fields)))
        self.runner.look()

    async def until(self, name: str, *states: str, done: int = 0) -> BatchRecord:
        while True:
            found = await self.runner_store.current(name)
            assert found is not None
            if found.state in states and found.completed >= done:
                return found
            await asyncio.sleep(0.001)

    def ids(self, file_id: str | None) -> list[str]:
        if file_id is None:
            return []
        text = (self.root / "kept" / "files" / file_id).read_text()
        return [json.loads(row)["custom_id"] for row in text.splitlines()]

    def errors(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        text = (self.root / "kept" / "files" / file_id).read_text()
        return [json.loads(row) for row in text.splitlines()]


def run(root: Path, scenario: Callable[[World], Awaitable[None]], max_requests: int = 4) -> None:
    async def inside() -> None:
        async with asyncio.timeout(20):
            await scenario(World(root, max_requests))

    asyncio.run(inside())


def prompts(name: str, count: int) -> set[str]:
    return {f"{name}{number}" for number in range(count)}


def test_a_server_runs_what_another_leaves_in_a_folder_that_was_empty_when_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("frontend.batches.runner._SCAN_SECONDS", 0.01)

    async def scenario(world: World) -> None:
        settings = Settings(file_store=str(tmp_path / "kept"))
        other = Batches(settings, world.metrics)
        other.start()
        await asyncio.sleep(0)
        assert not (tmp_path / "kept").exists()
        world.runner = Runner(world.runner_store, world.ask, lambda caller: caller, world.metrics, 1, 1000)
        await world.add("a", 1, endpoint="/v1/embeddings")  # which its lines do not name
        assert (await world.until("a", "failed")).total == 0
        await other.stop()
        other.close()
        world.storage.close()

    run(tmp_path, scenario)


def test_a_batch_is_answered_with_bounded_concurrency(tmp_path):
    async def scenario(world: World) -> None:
        async def slowly(prompt: str) -> Answer:
            await asyncio.sleep(0.002)
            return Answer(404, [], b'{"error":{}}') if prompt == "a7" else OK

        world.answer = slowly
        server = world.start()
        await world.add("a", 100)
        done = await world.until("a", "completed")
        assert (done.total, done.completed, done.failed) == (100, 99, 1)
        assert set(world.ids(done.output_file_id)) == prompts("a", 100) - {"a7"}
        assert len(world.asked) == 100
        assert world.most_running == 4
        assert world.errors(done.error_file_id)[0]["response"]["status_code"] == 404
        assert done.usage.input_tokens == 99 * 5
        await world.stop(server)

    run(tmp_path, scenario)


def test_a_batch_keeps_to_the_concurrency_of_its_key(tmp_path):
    async def scenario(world: World) -> None:
        world.answer = world.slowly
        server = world.start()
        await world.add("a", 10, caller=Caller("alice", limits=Limits(max_concurrent=2), is_batch=True))
        await world.until("a", "completed")
        assert world.most_running == 2
        await world.stop(server)

    run(tmp_path, scenario)


def test_batches_take_turns(tmp_path):
    async def scenario(world: World) -> None:
        world.answer = world.slowly
        server = world.start()
        await world.add("a", 60)
        await world.until("a", "in_progress", done=5)
        before = len(world.asked)
        await world.add("b", 20)
        await world.until("b", "completed")
        since = [prompt[0] for _, prompt in world.asked[before:]]
        first = since.index("b")
        assert 12 <= Counter(since[first : first + 30])["b"] <= 18
        await world.until("a", "completed")
        await world.stop(server)

    run(tmp_path, scenario, max_requests=2)


def test_a_busy_server_is_asked_again_and_no_line_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "frontend.batches.runner.seconds_to_retry", lambda status, *_: None if status == 200 else 0.001
    )

    async def scenario(world: World) -> None:
        refused: Counter[str] = Counter()

        async def busy(prompt: str) -> Answer:
            refused[prompt] += 1
            return OK if refused[prompt] == 3 else Answer(429, [(b"retry-after", b"1")], b"{}")

        world.answer = busy
        server = world.start()
        await world.add("a", 10)
        done = await world.until("a", "completed")
        assert (done.completed, done.failed) == (10, 0)
        assert sorted(world.ids(done.output_file_id)) == sorted(prompts("a", 10))
        assert set(refused.values()) == {3}
        retried = world.metrics.registry.get_sample_value(
            "nacelle_batch_requests_total", {"result": "retried"}
        )
        assert retried == 20
        states = set(re.findall(r'nacelle_batches\{state="(\w+)"', world.metrics.render().decode()))
        assert states == {"validating", "in_progress", "finalizing", "cancelling"}
        await world.stop(server)

    run(tmp_path, scenario)


def test_what_a_limit_never_has_room_for_is_not_asked_again(tmp_path):
    async def scenario(world: World) -> None:
        async def too_much(prompt: str) -> Answer:
            return Answer(429, [(b"X-Should-Retry", b"false")], b"{}")

        world.answer = too_much
        server = world.start()
        await world.add("a", 2)
        done = await world.until("a", "completed")
        assert (done.completed, done.failed, len(world.asked)) == (0, 2, 2)
        await world.stop(server)

    run(tmp_path, scenario)


def test_another_server_continues_where_one_ended(tmp_path):
    async def scenario(world: World) -> None:
        hanging: set[str] = set()

        async def hang_from_the_fifth(prompt: str) -> Answer:
            if int(prompt[1:]) >= 5:
                hanging.add(prompt)
                await asyncio.Event().wait()
            return OK

        world.answer = hang_from_the_fifth
        server = world.start()
        await world.add("a", 12)
        await world.until("a", "in_progress", done=5)
        while len(hanging) < 4:
            await asyncio.sleep(0.001)
        await world.stop(server)
        world.answer = world.at_once
        server = world.start()
        done = await world.until("a", "completed")
        assert sorted(world.ids(done.output_file_id)) == sorted(prompts("a", 12))
        again = {prompt for prompt, count in Counter(p for _, p in world.asked).items() if count > 1}
        assert again == hanging
        await world.stop(server)

    run(tmp_path, scenario)


async def hang_from_the_third(prompt: str) -> Answer:
    if int(prompt[1:]) >= 3:
        await asyncio.Event().wait()
    return OK


def test_a_cancelled_batch_keeps_what_was_answered_and_ends_what_runs(tmp_path):
    async def scenario(world: World) -> None:
        world.answer = hang_from_the_third
        server = world.start()
        await world.add("a", 9)
        await world.until("a", "in_progress", done=3)
        assert (await world.store.cancel("a", "alice")).state is BatchState.CANCELLING
        world.runner.cancel("a")
        done = await world.until("a", "cancelled")
        assert world.ids(done.output_file_id) == ["a0", "a1", "a2"]
        errors = world.errors(done.error_file_id)
        assert {error["custom_id"] for error in errors} == prompts("a", 9) - prompts("a", 3)
        assert {error["error"]["code"] for error in errors} == {"batch_cancelled"}
        assert world.running == 0
        await world.stop(server)

    run(tmp_path, scenario)


def test_a_batch_ends_with_its_completion_window(tmp_path):
    async def scenario(world: World) -> None:
        world.answer = hang_from_the_third
        server = world.start()
        await world.add("a", 9, expires_at=2000)
        await world.until("a", "in_progress", done=3)
        await world.stop(server)
        world.now = 2000.0
        server = world.start()
        done = await world.until("a", "expired")
        assert (done.completed, done.failed, done.expired_at) == (3, 6, 2000)
        assert {error["error"]["code"] for error in world.errors(done.error_file_id)} == {"batch_expired"}
        await world.stop(server)

    run(tmp_path, scenario)


def test_a_batch_that_runs_expires_too(tmp_path):
    async def scenario(world: World) -> None:
        async def hang(prompt: str) -> Answer:
            await asyncio.Event().wait()
            return OK

        world.answer = hang
        server = world.start()
        await world.add("a", 2, expires_at=4600)
        while world.running < 2:
            await asyncio.sleep(0.001)
        world.advance(3599)
        for _ in range(5):
            await asyncio.sleep(0)
        assert world.running == 2
        world.advance(1)
        done = await world.until("a", "expired")
        assert done.output_file_id is None
        assert world.running == 0
        await world.stop(server)

    run(tmp_path, scenario)


def test_the_batch_of_a_revoked_key_is_cancelled_and_says_why(tmp_path):
    async def scenario(world: World) -> None:
        world.revoked = {"alice"}
        server = world.start()
        await world.add("a", 3)
        done = await world.until("a", "cancelled")
        assert [error.code for error in done.errors] == ["api_key_revoked"]
        assert not world.asked
        await world.stop(server)

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (Caller("alice", is_batch=True), "api_key_revoked"),
        (Caller("alice", is_batch=True, by_token=True), "token_expired"),
    ],
)
def test_a_batch_stops_when_its_key_is_revoked_though_all_its_requests_run(
    tmp_path, monkeypatch, caller, code
):
    monkeypatch.setattr("frontend.batches.runner._SCAN_SECONDS", 0.01)

    async def scenario(world: World) -> None:
        world.answer = hang_from_the_third
        server = world.start()
        await world.add("a", 5, caller=caller)
        await world.until("a", "in_progress", done=3)
        world.revoked = {"alice"}
        done = await world.until("a", "cancelled")
        assert [error.code for error in done.errors] == [code]
        assert world.ids(done.output_file_id) == ["a0", "a1", "a2"]
        assert world.running == 0
        await world.stop(server)

    run(tmp_path, scenario)


def test_a_batch_whose_key_may_no_longer_use_models_stops(tmp_path):
    async def scenario(world: World) -> None:
        server = world.start()
        await world.add("a", 2, caller=Caller("alice", frozenset(("admin",)), is_batch=True))
        done = await world.until("a", "cancelled")
        assert [error.code for error in done.errors] == ["api_key_revoked"]
        assert not world.asked
        await world.stop(server)

    run(tmp_path, scenario)


def test_a_line_that_is_refused_waits_and_the_others_go_on(tmp_path):
    async def scenario(world: World) -> None:
        async def busy(prompt: str) -> Answer:
            return Answer(429, [(b"retry-after", b"50")], b"{}") if prompt in ("a0", "a5") else OK

        world.answer = busy
        server = world.start()
        await world.add("a", 10)
        await world.until("a", "in_progress", done=8)
        assert Counter(prompt for _, prompt in world.asked) == dict.fromkeys(prompts("a", 10), 1)
        world.advance(1000)  # its end is the end of those that wait, too
        done = await world.until("a", "expired")
        assert {error["custom_id"] for error in world.errors(done.error_file_id)} == {"a0", "a5"}
        await world.stop(server)

    run(tmp_path, scenario)


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def change(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize("spoil", [lose, cut, change])
def test_a_batch_whose_input_is_lost_fails_and_names_the_file(tmp_path, spoil):
    async def scenario(world: World) -> None:
        gate = asyncio.Event()

        async def wait_from_the_third(prompt: str) -> Answer:
            if int(prompt[1:]) >= 2:
                await gate.wait()
            return OK

        world.answer = wait_from_the_third
        server = world.start()
        await world.add("a", 30)
        await world.until("a", "in_progress", done=2)
        while world.running < 4:
            await asyncio.sleep(0.001)
        spoil(tmp_path / "kept" / "inputs" / "a")
        gate.set()
        done = await world.until("a", "failed")
        [error] = done.errors
        assert (error.code, error.param) == ("input_file_lost", "input_file_id")
        assert "inputs/a in the folder" in error.message
        assert {"a0", "a1"} <= set(world.ids(done.output_file_id))
        assert not await world.runner_store.live()
        await world.stop(server)

    run(tmp_path, scenario)


@pytest.mark.parametrize(("cancelled", "state"), [(True, "cancelled"), (False, "failed")])
def test_a_batch_whose_input_is_lost_before_it_runs_ends(tmp_path, cancelled, state):
    async def scenario(world: World) -> None:
        world.runner = Runner(world.runner_store, world.ask, lambda caller: caller, world.metrics, 1, 1000)
        await world.add("a", 3)
        if cancelled:
            await world.runner_store.validate(await world.until("a", "validating"), 1000)
            await world.store.cancel("a", "alice")
        lose(tmp_path / "kept" / "inputs" / "a")
        world.storage.close()
        server = world.start()
        done = await world.until("a", state)
        assert [error.code for error in done.errors] == ["input_file_lost"]
        await world.stop(server)

    run(tmp_path, scenario)


def test_so_many_lines_that_wait_let_no_others_begin():
    async def scenario() -> None:
        now = 0.0

        async def fetch(after: int, limit: int) -> list[Place]:
            return [Place(number, 0, 1) for number in range(after + 1, after + limit + 1)]

        lines = Lines(fetch, lambda: now)
        for _ in range(MAX_WAITING):
            attempt = await lines.next()
            assert attempt is not None
            lines.put_back(attempt, 30.0 + attempt.place.number)
        waiting = asyncio.ensure_future(lines.next())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        now = 31.0
        attempt = await lines.next()
        assert attempt is not None
        assert (attempt.place.number, attempt.number) == (1, 2)
        attempt = await lines.next()
        assert attempt is not None
        assert (attempt.place.number, attempt.number) == (MAX_WAITING + 1, 1)

    asyncio.run(scenario())


def test_a_request_that_breaks_the_application_is_an_error_of_its_line(tmp_path, caplog):
    async def scenario(world: World) -> None:
        async def fail(prompt: str) -> Answer:
            if prompt == "a1":
                raise ValueError("a defect")
            return OK

        world.answer = fail
        server = world.start()
        await world.add("a", 3)
        done = await world.until("a", "completed")
        assert (done.completed, done.failed) == (2, 1)
        assert world.errors(done.error_file_id)[0]["error"]["code"] == "internal_error"
        await world.stop(server)

    run(tmp_path, scenario)
    assert "a defect" in caplog.text
