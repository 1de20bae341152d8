"""The store of files and batches: what survives, who sees what, and its bounds."""

import asyncio
import shutil
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from frontend.batches.database import Page
from frontend.batches.folder import Folder
from frontend.batches.lifecycle import Filed
from frontend.batches.output import answered, unanswered
from frontend.batches.record import BatchRecord, BatchState, FileRecord
from frontend.batches.runner_store import RunnerStore, close_lock
from frontend.batches.storage import Storage
from frontend.batches.store import BatchStore, FileLimits
from frontend.errors import NotFound, RequestTooLarge, StoreUnavailable
from frontend.spool import Spools
from tests.frontend.batches.made import batch, line

OWNER = "alice"
USED = b'{"usage":{"prompt_tokens":5,"completion_tokens":2}}'


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """A folder, and the store that a server has of it; `restart` is the next server."""

    def __init__(self, root: Path, limits: FileLimits) -> None:
        self.root, self.limits, self.clock = root, limits, Clock()
        self.restart()

    def restart(self) -> None:
        self.storage = Storage(Folder(self.root), self.clock)
        self.store = BatchStore(self.storage, self.limits)
        self.runner_store = RunnerStore(self.storage)

    async def upload(self, data: bytes = b"data", owner: str = OWNER, **fields: object) -> FileRecord:
        spool = Spools(self.root.parent, 10**6).create()
        await spool.write(data)
        number = len(list((self.root / "files").glob("*"))) if self.root.exists() else 0
        known = {"id": f"file-{number}", "name": "n", "purpose": "batch", "created_at": 1000} | fields
        file = FileRecord(owner=owner, size=len(data), **known)  # type: ignore[arg-type]
        try:
            await self.store.add_file(file, spool)
        finally:
            spool.close()
        return file

    async def begin(self, data: bytes, **fields: object) -> BatchRecord:
        """A batch whose input is valid."""
        file = await self.upload(data)
        await self.store.add_batch(batch(input_file_id=file.id, **fields))
        begun = await self.runner_store.validate(batch(input_file_id=file.id, **fields), 1000)
        assert begun is not None
        return begun

    def content(self, file_id: str | None) -> bytes:
        assert file_id is not None
        return (self.root / "files" / file_id).read_bytes()


def run(root: Path, scenario: Callable[[Kept], Awaitable[None]], limits: FileLimits | None = None) -> None:
    async def inside() -> None:
        kept = Kept(root / "kept", limits or FileLimits(10_000, 10))
        await scenario(kept)
        kept.storage.close()

    asyncio.run(inside())


def lines(count: int) -> bytes:
    return b"".join(line(str(number)) for number in range(count))


def test_a_file_belongs_to_its_owner_and_nobody_else_finds_it(tmp_path):
    async def scenario(kept: Kept) -> None:
        file = await kept.upload()
        kept.restart()
        assert await kept.store.file(file.id, OWNER) == file
        for call in (kept.store.file(file.id, "bob"), kept.store.remove_file(file.id, "bob")):
            with pytest.raises(NotFound):
                await call
        assert await kept.store.files("bob", Page()) == []
        await kept.store.remove_file(file.id, OWNER)
        with pytest.raises(NotFound):
            await kept.store.file(file.id, OWNER)
        assert not list((kept.root / "files").iterdir())

    run(tmp_path, scenario)


def test_files_are_listed_in_order_and_by_pages(tmp_path):
    async def scenario(kept: Kept) -> None:
        for number in range(4):
            await kept.upload(purpose="batch" if number % 2 else "user_data")

        async def listed(*page: object) -> list[str]:
            return [file.id for file in await kept.store.files(OWNER, Page(*page))]  # type: ignore[arg-type]

        assert await listed() == ["file-3", "file-2", "file-1", "file-0"]
        assert await listed(None, 10, False) == ["file-0", "file-1", "file-2", "file-3"]
        assert await listed("file-3", 2) == [
            "file-2",
            "file-1",
            "file-0",
        ]  # one more says that there are more
        assert await listed("file-1", 2, False) == ["file-2", "file-3"]
        assert await listed(None, 10, True, "batch") == ["file-3", "file-1"]
        with pytest.raises(NotFound, match="after"):
            await listed("file-9")

    run(tmp_path, scenario)


@pytest.mark.parametrize(("limits", "wanted"), [(FileLimits(10, 5), 2), (FileLimits(1000, 3), 3)])
def test_files_are_bounded_and_what_does_not_fit_leaves_nothing(tmp_path, limits, wanted):
    async def scenario(kept: Kept) -> None:
        for _ in range(wanted):
            await kept.upload(b"12345")
        with pytest.raises(RequestTooLarge, match="delete files"):
            await kept.upload(b"12345")
        assert len(list((kept.root / "files").iterdir())) == wanted
        await kept.store.remove_file("file-0", OWNER)
        await kept.upload(b"12345", id="again")

    run(tmp_path, scenario, limits)


def test_an_expired_file_is_gone_and_then_its_content(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.upload(expires_at=1010)
        await kept.upload()
        kept.clock.now = 1010
        with pytest.raises(NotFound):
            await kept.store.file("file-0", OWNER)
        assert [file.id for file in await kept.store.files(OWNER, Page())] == ["file-1"]
        await kept.runner_store.sweep()
        assert [path.name for path in (kept.root / "files").iterdir()] == ["file-1"]

    run(tmp_path, scenario)


def test_everything_is_private_to_the_user(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.begin(lines(1))
        lock = await kept.runner_store.lock("batch_1")
        assert lock is not None
        close_lock(lock)
        await kept.runner_store.finish("batch_1", [(1, answered("0", 200, "r", USED))])
        for path in [kept.root, *kept.root.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path

    run(tmp_path, scenario)


def test_a_folder_that_cannot_be_made_is_told_at_use(tmp_path):
    (tmp_path / "kept").write_text("a file")

    async def scenario(kept: Kept) -> None:
        with pytest.raises(StoreUnavailable, match=r"cannot be used: .*--file-store"):
            await kept.store.files(OWNER, Page())

    run(tmp_path, scenario)


def test_a_batch_keeps_its_input_when_the_file_is_deleted(tmp_path):
    async def scenario(kept: Kept) -> None:
        begun = await kept.begin(lines(2))
        await kept.store.remove_file(begun.input_file_id, OWNER)
        places = await kept.runner_store.pending("batch_1", 0, 10)
        assert await kept.runner_store.read_lines("batch_1", places[1:2]) == [line("1")]

    run(tmp_path, scenario)


def test_a_batch_of_a_file_that_is_gone_is_a_404(tmp_path):
    async def scenario(kept: Kept) -> None:
        with pytest.raises(NotFound, match="file-in"):
            await kept.store.add_batch(batch())
        with pytest.raises(NotFound) as caught:
            await kept.store.file("file-in", OWNER, "input_file_id")
        assert caught.value.param == "input_file_id"
        assert not await kept.runner_store.live()

    run(tmp_path, scenario)


def test_each_line_is_answered_once_whatever_a_restart_repeats(tmp_path):
    async def scenario(kept: Kept) -> None:
        begun = await kept.begin(lines(3))
        assert (begun.state, begun.total, begun.model) == (BatchState.IN_PROGRESS, 3, "m")
        first, failed = answered("0", 200, "r", USED), unanswered("2", "internal_error", "x")
        await kept.runner_store.finish("batch_1", [(1, first)])
        # The end of a server between the content and its record.
        kept.storage.folder.write("file-out", len(first.line), b"half a li")
        kept.restart()
        taken = await kept.runner_store.take_over("batch_1")
        assert taken is not None
        assert [place.number for place in await kept.runner_store.pending("batch_1", 0, 10)] == [2, 3]
        again = answered("0", 200, "other", USED)
        second = answered("1", 200, "r", USED)
        done = await kept.runner_store.finish("batch_1", [(1, again), (2, second), (3, failed)])
        assert done is not None
        assert (done.completed, done.failed, done.usage.input_tokens) == (2, 1, 10)
        await kept.runner_store.all_answered(done)
        ended = await kept.runner_store.file_away(done, Filed())
        assert ended is not None
        assert ended.state is BatchState.COMPLETED
        assert kept.content(ended.output_file_id) == first.line + second.line
        assert kept.content(ended.error_file_id) == failed.line
        output = await kept.store.file("file-out", OWNER)
        assert (output.purpose, output.size) == ("batch_output", len(first.line + second.line))
        assert not list((kept.root / "inputs").iterdir())

    run(tmp_path, scenario)


def test_answers_that_a_power_cut_took_are_made_again(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.begin(lines(3))
        results = [answered(str(number), 200, "r", USED) for number in range(2)]
        await kept.runner_store.finish("batch_1", list(enumerate(results, 1)))
        kept.storage.folder.complete("file-out", len(results[0].line) + 3)
        kept.restart()
        taken = await kept.runner_store.take_over("batch_1")
        assert taken is not None
        assert (taken.completed, taken.output_bytes) == (1, len(results[0].line))
        assert taken.usage.input_tokens == 5
        assert [place.number for place in await kept.runner_store.pending("batch_1", 0, 10)] == [2, 3]

    run(tmp_path, scenario)


def test_a_batch_that_lost_answers_at_its_end_makes_them_again(tmp_path):
    async def scenario(kept: Kept) -> None:
        begun = await kept.begin(lines(2))
        results = [answered(str(number), 200, "r", USED) for number in range(2)]
        await kept.runner_store.finish("batch_1", list(enumerate(results, 1)))
        await kept.runner_store.all_answered(begun)
        kept.storage.folder.remove("file-out")
        kept.restart()
        taken = await kept.runner_store.take_over("batch_1")
        assert taken is not None
        assert (taken.state, taken.completed, taken.finalizing_at) == (BatchState.IN_PROGRESS, 0, None)
        assert len(await kept.runner_store.pending("batch_1", 0, 10)) == 2

    run(tmp_path, scenario)


def test_an_answer_is_not_written_behind_a_hole(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.begin(lines(2))
        await kept.runner_store.finish("batch_1", [(1, answered("0", 200, "r", USED))])
        kept.storage.folder.remove("file-out")
        with pytest.raises(StoreUnavailable):
            await kept.runner_store.finish("batch_1", [(2, answered("1", 200, "r", USED))])
        taken = await kept.runner_store.take_over("batch_1")
        assert taken is not None
        assert taken.completed == 0

    run(tmp_path, scenario)


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.upload()
        shutil.rmtree(kept.root)
        with pytest.raises(StoreUnavailable):
            await kept.upload()
        await kept.upload(id="file-new")
        assert kept.content("file-new") == b"data"

    run(tmp_path, scenario)


def test_two_servers_do_not_hold_the_same_batch(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.begin(lines(1))
        lock = await kept.runner_store.lock("batch_1")
        assert lock is not None
        storage = Storage(Folder(kept.root), kept.clock)
        other = RunnerStore(storage)
        assert await other.lock("batch_1") is None
        close_lock(lock)  # as the kernel does where a server is killed
        taken = await other.lock("batch_1")
        assert taken is not None
        close_lock(taken)
        storage.close()

    run(tmp_path, scenario)


def test_an_invalid_input_fails_the_batch(tmp_path):
    async def scenario(kept: Kept) -> None:
        begun = await kept.begin(line("a") + b"nonsense\n")
        assert begun.state is BatchState.FAILED
        assert [(error.code, error.line) for error in begun.errors] == [("invalid_json_line", 2)]
        assert await kept.runner_store.live() == []

    run(tmp_path, scenario)


def test_a_batch_belongs_to_its_owner(tmp_path):
    async def scenario(kept: Kept) -> None:
        begun = await kept.begin(lines(1))
        assert await kept.store.batch("batch_1", OWNER) == begun
        assert await kept.store.batches("bob", Page()) == []
        for call in (kept.store.batch("batch_1", "bob"), kept.store.cancel("batch_1", "bob")):
            with pytest.raises(NotFound):
                await call
        assert (await kept.store.cancel("batch_1", OWNER)).state is BatchState.CANCELLING

    run(tmp_path, scenario)


def test_what_ended_long_ago_is_forgotten_and_what_nobody_knows_is_removed(tmp_path):
    async def scenario(kept: Kept) -> None:
        await kept.begin(b"nonsense")
        (kept.root / "files" / "file-lost").touch()
        kept.clock.now += 40 * 86_400
        await kept.runner_store.sweep()
        assert await kept.store.batches(OWNER, Page()) == []
        kept.clock.now = 1e12
        await kept.runner_store.remove_orphans()
        assert [path.name for path in (kept.root / "files").iterdir()] == ["file-0"]
        assert not list((kept.root / "inputs").iterdir())

    run(tmp_path, scenario)
