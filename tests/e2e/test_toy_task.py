"""A task that nothing else knows: three modules, and one line in each of three registries of a copy."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bench.server import Server, free_port
from tests.e2e.serving import wait_for

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy_task"
REGISTRIES = {
    "ipc/messages/__init__.py": ("_MODULES = (\n", '    "reverse",\n'),
    "host/engines/load.py": (
        "ENGINES = {\n",
        '    "reverse": EngineEntry("host.engines.reverse:ReverseEngine"),\n',
    ),
    "frontend/api/application.py": ("AREAS = (\n", '    "reverse",\n'),
}
SECONDS = 0.05  # that the toy takes for a text


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for package in ("ipc", "host", "frontend"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOY / "messages.py", tree / "ipc/messages/reverse.py")
    shutil.copy(TOY / "engine.py", tree / "host/engines/reverse.py")
    shutil.copy(TOY / "endpoint.py", tree / "frontend/api/reverse.py")
    for file, (before, line) in REGISTRIES.items():
        text = (tree / file).read_text()
        assert text.count(before) == 1
        (tree / file).write_text(text.replace(before, before + line))
    return tree


@pytest.fixture(scope="module")
def server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model")
    (model / "seconds").write_text(str(SECONDS))
    port = free_port()
    code = "import sys; from frontend.cli import main; sys.exit(main())"
    arguments = ["serve", str(model), "--name", "toy", "--engine", "reverse", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    with Server([sys.executable, "-P", "-c", code, *arguments], port, environment) as serving:
        serving.wait_for("/ready/toy", 60)
        yield serving


def reverse(server: Server, text: str, model: str = "toy") -> httpx.Response:
    body = {"model": model, "text": text}
    return httpx.post(f"{server.base_url}/v1/reverse", json=body, timeout=60)


def test_the_toy_is_small():
    assert sum(len(file.read_text().splitlines()) for file in TOY.glob("*.py")) < 120


def test_it_is_served(server: Server):
    assert reverse(server, "abc").json() == {"text": "cba"}


def test_bad_input_is_an_error_that_names_the_field(server: Server):
    refused = reverse(server, "")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "text"
    assert reverse(server, "abc", model="none").status_code == 404


def test_a_large_text_crosses_in_shared_memory(server: Server):
    text = "abc" * 100_000
    assert reverse(server, text).json() == {"text": text[::-1]}


def test_requests_outlive_their_host(server: Server):
    def host() -> int | None:
        pid: int | None = httpx.get(f"{server.base_url}/ready/toy").json()["replicas"][0]["pid"]
        return pid

    before = host()
    assert before is not None
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(reverse, server, f"text {number}") for number in range(20)]
        wait_for(lambda: any(answer.done() for answer in answers), "the first answer")
        os.kill(before, signal.SIGKILL)
        found = [answer.result().json() for answer in answers]
    assert found == [{"text": f"text {number}"[::-1]} for number in range(20)]
    assert host() != before
