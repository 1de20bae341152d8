"""A pull may be killed at any moment: a model is then whole or absent, and the next pull works."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from frontend.models.catalogue import UrlSource
from frontend.models.manifest import is_complete
from frontend.models.reporter import Silent
from frontend.models.resolve import Preparer
from frontend.models.store import Store
from tests.frontend.models.tiny import GGUF, convert, entry

ROOT = Path(__file__).parents[3]
KILLS = 10


def run(store: Path, url: str, fatal: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.frontend.models.killed", str(store), url, str(fatal)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_a_pull_that_is_killed_anywhere_leaves_a_whole_model_or_none(web, tmp_path):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(GGUF)))
        handler.end_headers()
        handler.wfile.write(GGUF)

    url = web(answer).url
    steps = int(run(tmp_path / "whole", url, 0).stdout)
    assert steps > 20, "it does more to the store than that"
    for fatal in random.Random(12).sample(range(1, steps + 1), KILLS):
        root = tmp_path / f"killed-at-{fatal}"
        killed = run(root, url, fatal)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        _check(root, url)


def _check(root: Path, url: str) -> None:
    store = Store(root, Silent(), convert)
    for path, manifest in store.stored():
        assert is_complete(manifest, path), "half a model"
    folder = Preparer(store, Silent(), {"tiny": entry(UrlSource(url))}).pull("tiny")
    assert (folder / "openvino_model.bin").read_bytes() == GGUF
    assert [one.path for one in store.installed()] == [folder]
    assert {path.name for path in folder.parent.iterdir()} <= {folder.name, "source"}, "remains are swept"
    assert not (root / ".trash").exists()
