"""A pull that is killed at any moment: afterwards the model is complete, or it is not there."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from frontend.models.pulling import Done, Event, Order, decode_event
from frontend.models.reporter import Silent
from frontend.models.store import Store
from tests.e2e.serving import wait_for
from tests.frontend.models.sources.web_servers import FileServer
from tests.models.qwen3 import tiny_qwen3_gguf

ROOT = Path(__file__).parents[4]
SEED = int(os.environ.get("NACELLE_TEST_SEED", "20"))


@pytest.fixture(scope="module")
def gguf() -> bytes:
    """A real GGUF file: of a random tiny Qwen3, with the tokenizer of the real one."""
    return tiny_qwen3_gguf().read_bytes()


class Pull:
    """A real process that pulls into `root`."""

    def __init__(self, source: str, root: Path) -> None:
        order = msgspec.json.encode(Order(source, str(root), "tiny"))
        command = [sys.executable, "-P", "-m", "frontend.models.pulling", "--lifeline"]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(order + b"\n")
        self.process.stdin.flush()

    def events(self) -> list[Event]:
        assert self.process.stdout is not None
        return [event for line in self.process.stdout if (event := decode_event(line))]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        status = self.process.wait(60)
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        return status


def check(root: Path) -> bool:
    """Whether the model is there. It is whole then: each file of its manifest, and an IR that is read to its
    end."""
    store = Store(root, Silent())
    found = store.installed()
    assert len(found) <= 1
    for one in found:
        names = {path.name for path in one.path.iterdir()}
        assert {"openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml"} <= names
        for name, size in one.manifest.files.items():
            assert (one.path / name).stat().st_size == size
        assert (one.path / "openvino_model.xml").read_bytes().rstrip().endswith(b"</net>")
    return bool(found)


def has_asked(files: FileServer, before: int) -> bool:
    return len(files.seen) > before


def has_arrived(root: Path, size: float) -> bool:
    return any(part.stat().st_size >= size for part in root.glob("partial/*/file.part"))


def test_killed_at_ten_points_a_pull_is_whole_or_absent_and_goes_on(files, tmp_path, gguf):
    dice = random.Random(SEED)
    files.files["/m.gguf"] = gguf
    files.piece = 64 * 1024
    files.pace = partial(time.sleep, 0.001)  # a network that is slower than the disk
    points = sorted(dice.uniform(0.01, 0.9) * len(gguf) for _ in range(7))
    root, source = tmp_path / "store", f"{files.url}/m.gguf"
    there = 0
    for point in points:
        pull = Pull(source, root)
        asked = len(files.seen)
        wait_for(partial(has_asked, files, asked), "it has connected")
        wait_for(partial(has_arrived, root, point), "so many bytes are on the disk")
        pull.kill()
        assert pull.wait() == -signal.SIGKILL
        assert not check(root)
        (part,) = root.glob("partial/*/file.part")
        assert gguf.startswith(part.read_bytes())
        assert files.seen[-1][2].get("Range") == (f"bytes={there}-" if there else None)
        there = part.stat().st_size
    files.pace = None
    for wait in (0.0, dice.uniform(0.2, 0.8), dice.uniform(0.8, 2)):
        pull = Pull(source, root)
        assert pull.process.stdout is not None
        for line in pull.process.stdout:
            if b"Converting" in line:
                break
        try:
            pull.process.wait(wait)
        except subprocess.TimeoutExpired:
            pull.kill()
        pull.wait()
        if check(root):
            break
    pull = Pull(source, root)
    done = pull.events()[-1]
    assert pull.wait() == 0
    assert isinstance(done, Done)
    assert check(root)
    store = Store(root, Silent())
    wait_for(lambda: not list(root.glob("*/*/partial-*")), "nothing half-built is left")
    assert not list(root.glob("partial/*"))
    (one,) = store.installed()
    assert one.manifest.origin.sha256["m.gguf"] == hashlib.sha256(gguf).hexdigest()


def test_a_pull_ends_with_its_lifeline_conversions_included(files, tmp_path, gguf):
    files.files["/m.gguf"] = gguf
    pull = Pull(f"{files.url}/m.gguf", tmp_path / "store")
    assert pull.process.stdout is not None
    for line in pull.process.stdout:
        if b"Converting" in line:
            break
    assert pull.process.stdin is not None
    pull.process.stdin.close()
    assert pull.process.wait(30) == -signal.SIGKILL

    def is_gone() -> bool:
        try:
            os.killpg(pull.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(is_gone, "the conversion has ended, too")
    pull.process.stdout.close()
    assert not check(tmp_path / "store")


def test_a_hub_that_drops_every_third_connection_is_no_obstacle(hub, tmp_path, qwen3_ir):
    content = {path.name: path.read_bytes() for path in qwen3_ir.iterdir() if path.is_file()}
    hub.add("org/tiny-ov", content)
    hub.drop_every = 3
    hub.piece = 256 * 1024
    pull = Pull("org/tiny-ov", tmp_path / "store")
    events = pull.events()
    assert pull.wait() == 0, events
    assert check(tmp_path / "store")
    (one,) = Store(tmp_path / "store", Silent()).installed()
    for name in one.manifest.files:
        assert (one.path / name).read_bytes() == content[name]
    assert hub.sent < sum(map(len, content.values())) * 1.01
