"""What is left, and what is said, when a conversion is killed, crashes, or runs out of disk or memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from gguf.constants import GGMLQuantizationType as Kind

from frontend.models.converter import convert
from frontend.models.errors import ModelError
from tests.e2e.serving import wait_for
from tests.host.convert.tiny_gguf import write_tiny

ROOT = Path(__file__).parents[3]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """As the store makes one: with an empty folder for the IR."""
    folder = tmp_path / "partial-x" / "ir"
    folder.mkdir(parents=True)
    return folder.parent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny.gguf", Kind.Q5_0)


# Stands in for native code: it writes half a model, then does what the test asked for.
_PATCHED = """
import ctypes, os, signal, sys, time
import host.convert.gguf_model
from host.convert.__main__ import guarded

def save(path):
    (path.parent / "openvino_model.bin").write_bytes(b"half")
    {act}

host.convert.gguf_model.save_with_genai = save
sys.exit(guarded(sys.argv[1:]))
"""
_HANG = "time.sleep(600)"


def start(source: Path, scratch: Path, act: str) -> "subprocess.Popen[str]":
    """A conversion that holds our end of a pipe as its lifeline."""
    return subprocess.Popen(
        [sys.executable, "-c", _PATCHED.format(act=act), str(source), str(scratch / "ir"), "--lifeline"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(guard: "subprocess.Popen[str]") -> None:
    guard.kill()
    guard.wait()
    for pipe in (guard.stdin, guard.stderr):
        assert pipe is not None
        pipe.close()


@pytest.fixture
def hanging(source: Path, scratch: Path) -> "Iterator[tuple[subprocess.Popen[str], psutil.Process]]":
    """A conversion in native code, and the process that runs it."""
    guard = start(source, scratch, _HANG)
    wait_for((scratch / "ir" / "openvino_model.bin").exists, "the conversion is in native code")
    (worker,) = psutil.Process(guard.pid).children()
    yield guard, worker
    end(guard)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_nothing_stays_when_the_caller_is_gone(scratch: Path, hanging) -> None:
    guard, worker = hanging
    guard.stdin.close()
    assert guard.wait(30) == 1
    assert is_gone(worker)
    assert not scratch.exists()


def test_what_else_is_in_the_scratch_folder_stays(scratch: Path, hanging) -> None:
    (scratch / "source").touch()
    guard, _ = hanging
    guard.stdin.close()
    guard.wait(30)
    assert [path.name for path in scratch.iterdir()] == ["source"]


def test_a_killed_worker_is_one_line(hanging) -> None:
    guard, worker = hanging
    worker.kill()
    assert guard.wait(30) == 1
    assert guard.stderr.read() == (
        "cannot convert tiny.gguf: the conversion was killed, perhaps for lack of memory; "
        "free some and try again\n"
    )


def test_a_killed_guard_takes_its_worker_along(hanging) -> None:
    guard, worker = hanging
    guard.kill()
    guard.wait(30)
    wait_for(lambda: is_gone(worker), "the worker ends")


FULL = "the disk of the store is full; free some space, or choose another store with --store"
CRASHED = "the file may be damaged: download it again"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("ctypes.string_at(0)", f"OpenVINO crashed (SIGSEGV); {CRASHED}"),
        ("os.abort()", f"OpenVINO crashed (SIGABRT); {CRASHED}"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "the file was cut short while it was read; wait"),
        ("bytearray(2**44)", "the machine has too little memory for it; free some and try again"),
        ("raise RuntimeError('basic_ios::clear: iostream error')", FULL),
        ("raise OSError(28, 'No space left on device')", FULL),
        ("raise IndexError('unordered_map::at')", "IndexError: unordered_map::at; convert the original"),
        ("return", "OpenVINO did not write openvino_model.xml completely; convert the original"),
    ],
)
def test_every_way_to_fail_is_one_line(source: Path, scratch: Path, act: str, said: str) -> None:
    guard = start(source, scratch, act)
    try:
        assert guard.wait(60) == 1
        assert guard.stderr is not None
        (line,) = guard.stderr.read().splitlines()
        assert line.startswith(f"cannot convert tiny.gguf: {said}")
    finally:
        end(guard)


def test_a_conversion_that_takes_too_long_is_stopped(source: Path, scratch: Path) -> None:
    shorter = "import host.convert.guard; host.convert.guard._SECONDS_BASE = 5.0"
    script = _PATCHED.replace("sys.exit", f"{shorter}; sys.exit").format(act=_HANG)
    command = [sys.executable, "-c", script, str(source), str(scratch / "ir")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "minutes and was stopped; convert the original" in ended.stderr


# --- in the store -------------------------------------------------------------------------------------------


_PREPARING = """
import sys
from pathlib import Path
from frontend.models.manifest import Recipe
from frontend.models.store import Store
from tests.frontend.models.tiny import Recorder
recipe = Recipe("files", "tiny", "0", {})
Store(Path(sys.argv[1]), Recorder()).ensure(recipe, "tiny", lambda _: Path(sys.argv[2]))
"""


def test_a_killed_command_leaves_nothing(tmp_path: Path, source: Path) -> None:
    """The real conversion of the store; its worker is stopped, so that it does not end first."""
    child = subprocess.Popen(
        [sys.executable, "-c", _PREPARING, str(tmp_path / "store"), str(source)], cwd=ROOT
    )
    try:
        home = tmp_path / "store" / "files" / "tiny"
        wait_for(lambda: len(psutil.Process(child.pid).children(recursive=True)) == 2, "a worker converts")
        worker = psutil.Process(child.pid).children(recursive=True)[-1]
        worker.suspend()
        assert [path.name.partition("-")[0] for path in home.iterdir()] == ["partial"]
    finally:
        child.kill()
        child.wait()
    wait_for(lambda: is_gone(worker), "the worker is killed")
    wait_for(lambda: not list(home.iterdir()), "nothing is left")


@pytest.mark.parametrize("kind", [Kind.F16, Kind.Q5_0], ids=lambda kind: kind.name)
@pytest.mark.parametrize("megabytes", [0, 1, 2])
def test_a_full_disk_is_one_line(tmp_path: Path, kind: Kind, megabytes: int) -> None:
    """A limit on the size of files stands in for the disk: native code gets the same failed writes."""
    source, folder = write_tiny(tmp_path / "tiny.gguf", kind), tmp_path / "ir"
    folder.mkdir()
    script = (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({megabytes * 300_000},) * 2);"
        "runpy.run_module('host.convert', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", script, str(source), str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line == f"cannot convert tiny.gguf: {FULL}"
    assert not (folder / "model.gguf").exists()


def test_too_little_room_is_noticed_before_the_conversion(
    source: Path, scratch: Path, monkeypatch, capsys
) -> None:
    import shutil

    from host.convert.__main__ import main

    usage = shutil.disk_usage(scratch)._replace(free=3_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert main([str(source), str(scratch / "ir")]) == 1
    assert capsys.readouterr().err == (
        "cannot convert tiny.gguf: it needs about 19 MB, but the disk of the store has 3 MB left; "
        "free some space, or choose another store with --store\n"
    )
    assert list((scratch / "ir").iterdir()) == []


def test_a_crash_reaches_the_user_through_the_store(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(write_tiny(tmp_path / "tiny.gguf").read_bytes()[:100_000])
    with pytest.raises(ModelError) as raised:
        convert(cut, tmp_path)
    assert str(raised.value).startswith("cannot convert cut.gguf: the file is incomplete: it has 100,000 of ")


def test_what_changes_is_told_to_the_user(source: Path, scratch: Path) -> None:
    from tests.frontend.models.tiny import Recorder

    reporter = Recorder()
    convert(source, scratch / "ir", reporter)
    assert reporter.notes == ["Converted 15 Q5_0 tensors to Q8_0, because the engine does not read them."]
