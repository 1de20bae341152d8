"""README's commands, run as they are printed: only the port is another, and downloads are here already."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from bench.server import Server, free_port, nacelle_command

README = (Path(__file__).parents[2] / "README.md").read_text()
PORT = "8000"
LOAD_SECONDS = 180.0


def blocks(heading: str) -> list[str]:
    """The shell blocks of a section of README."""
    found = re.search(rf"^## {heading}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r"^```sh\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)


@contextmanager
def served(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, answers: str = "/ready"
) -> Iterator[Server]:
    """The server that a printed line starts in `folder`, once it is as ready as README says to wait for.

    Or once the path `answers` answers 200, where no model is asked.
    """
    words = shlex.split(line)
    environment = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    assert words.pop(0) == "nacelle"
    monkeypatch.chdir(folder)
    port = free_port()
    with Server([*nacelle_command(), *words], port, environment | {"NACELLE_PORT": str(port)}) as server:
        server.wait_for(answers, LOAD_SECONDS)
        yield server


def run(command: str, server: Server) -> dict:
    """What a printed curl command answers."""
    printed = f"http://127.0.0.1:{PORT}/"
    assert printed in command
    script = command.replace(printed, f"http://127.0.0.1:{server.port}/")
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120, check=True)
    answer: dict = json.loads(result.stdout)
    return answer


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="README's commands need curl")


@needs_curl
def test_the_first_answer(smollm2_ir, tmp_path, monkeypatch):
    serve, ask = blocks("A first answer")
    with served(serve, tmp_path, monkeypatch) as server:
        answer = run(ask, server)
        assert "smollm2/0 is ready" in server.log_tail()
    assert "Paris" in answer["choices"][0]["message"]["content"]


@needs_curl
def test_a_gguf_file_of_ones_own(smollm2_ir, tmp_path, monkeypatch):
    """Another file under the name of README's, since that one is too large to be fetched by a test."""
    fetch_and_serve, ask, _ = blocks("Your own model")
    fetch, serve = fetch_and_serve.splitlines()
    assert fetch.startswith("curl -LO https://")
    [gguf] = smollm2_ir.parent.glob("source/*.gguf")
    (tmp_path / fetch.rpartition("/")[2]).symlink_to(gguf)
    monkeypatch.setenv("NACELLE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NACELLE_GENERATION_DEFAULTS", "max_tokens=32")  # SmolLM2 would not find an end
    with served(serve, tmp_path, monkeypatch) as server:
        assert run(ask, server)["choices"][0]["message"]["content"]
        [listing] = re.findall(r"`(curl [^`]+/v1/models)`", README)
        assert [model["id"] for model in run(listing, server)["data"]] == ["coder"]
        assert "coder/0 is ready" in server.log_tail()


def test_open_webui_in_a_container_gets_in(smollm2_ir, tmp_path, monkeypatch):
    """The requests that the printed container would send, by the name under which it reaches its host."""
    with_key, container, without_key = blocks("Open WebUI in a container")
    words = shlex.split(container.replace("\\\n", " "))
    assert words[:2] == ["docker", "run"]
    settings = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-e")
    [host] = re.findall(r"--add-host=([\w.]+):host-gateway", container)
    assert settings["OPENAI_API_BASE_URL"] == f"http://{host}:{PORT}/v1"
    key = settings["OPENAI_API_KEY"]
    for line, status in [(with_key, 401), (without_key, 200)]:
        with served(line, tmp_path, monkeypatch, "/health") as server:
            assert status_of(server, host, key) == 200
            assert status_of(server, host, "another") == status
            if line is without_key:
                assert status_of(server, "evil.example", key) == 403


def status_of(server: Server, host: str, key: str) -> int:
    headers = {"Host": f"{host}:{server.port}", "Authorization": f"Bearer {key}"}
    return httpx.get(f"{server.base_url}/v1/models", headers=headers, timeout=30).status_code
