"""No process of ours calls anybody unasked, and none leaves anything in the user's home.

A module that Python imports at its start watches every Python process, children included. It forbids to look
up names and to connect anywhere but on this machine, and keeps a record of who tried.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.serving import Serving
from tests.models.qwen3 import tiny_qwen3_gguf

WATCH = """
import os, sys

def watch(event, args):
    name = None
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        name = args[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        name = args[1][0]
    if name not in (None, "", "127.0.0.1", "localhost", "::1", "0.0.0.0", b"localhost", b"127.0.0.1"):
        with open(os.environ["WATCHED"], "a") as record:
            record.write(f"{event} {name} by {sys.orig_argv}\\n")
        raise OSError("this test has no network")

sys.addaudithook(watch)
with open(os.environ["WATCHED"] + ".processes", "a") as record:
    record.write(f"{sys.orig_argv}\\n")
"""


class Watched:
    """An empty home, and what the processes that lived in it tried."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self._record = folder / "record"
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(WATCH)
        path = os.pathsep.join([str(site), str(Path(__file__).parents[1])])
        self.environment = {
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": path,
            "WATCHED": str(self._record),
            "CI": "",  # or the telemetry would be off by itself
        }

    def run(self, *arguments: str) -> None:
        environment = os.environ | self.environment
        subprocess.run([sys.executable, "-P", *arguments], env=environment, check=True, capture_output=True)

    @property
    def calls(self) -> str:
        return self._record.read_text() if self._record.exists() else ""

    @property
    def processes(self) -> str:
        """The command lines of all that were watched."""
        return self._record.with_suffix(".processes").read_text()

    def was_quiet(self) -> bool:
        assert self.calls == ""
        assert list(self.home.iterdir()) == []
        return True


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.delenv("CI", raising=False)
    return Watched(tmp_path)


def test_the_watch_sees_what_openvino_would_send(watched: Watched) -> None:
    watched.run("-c", "import openvino; import openvino_telemetry.main as m; m.Telemetry().force_shutdown(5)")
    assert "google-analytics" in watched.calls
    assert list(watched.home.iterdir()) != []


@pytest.mark.parametrize("module", ["host", "host.engines.text_loading", "host.vectors.native", "host.quiet"])
def test_importing_any_module_of_a_host_first_keeps_openvino_quiet(watched: Watched, module: str) -> None:
    watched.run("-c", f"import {module}, openvino, openvino_genai, openvino_tokenizers; openvino.Core()")
    assert watched.was_quiet()


def test_a_server_its_load_an_answer_and_a_restart_are_quiet(watched: Watched, qwen3_ir: Path) -> None:
    with Serving([str(qwen3_ir), "--name", "smollm2"], [], watched.environment) as server:
        assert server.wait_until_ready().chat().status_code == 200
        server.wait_for_replacement(server.kill_host(signal.SIGKILL))
        assert server.chat().status_code == 200
    assert watched.processes.count("'-m', 'host'") == 2
    assert watched.was_quiet()


def test_a_server_of_embeddings_is_quiet(watched: Watched, minilm_ir: Path) -> None:
    with Serving([str(minilm_ir), "--name", "minilm"], [], watched.environment) as server:
        server.wait_until_ready("minilm")
    assert watched.was_quiet()


def test_a_conversion_is_quiet(watched: Watched) -> None:
    with Serving([str(tiny_qwen3_gguf()), "--name", "m"], [], watched.environment) as server:
        server.wait_until_ready("m")
    assert "host.convert" in watched.processes
    assert watched.was_quiet()


def test_the_raw_engine_of_the_benchmark_is_quiet(watched: Watched, qwen3_ir: Path) -> None:
    watched.run("-c", "import bench.engine_child, bench.raw, bench.raw_vectors, openvino; openvino.Core()")
    assert watched.was_quiet()
