"""A package index of one folder, a web server on this machine, and a reporter that remembers."""

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.frontend.models.tiny import Recorder

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip is told to find all packages in, the way a user would tell it."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class Web:
    """A web server that gives the answers it was told, the last of them for ever."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.requests = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = web.answers[min(web.requests, len(web.answers) - 1)]
                web.requests += 1
                answer(self)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Web]]:
    """Starts a web server: `web(answer, ...)`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started: list[Web] = []

    def start(*answers: Answer) -> Web:
        web = Web(list(answers))
        threading.Thread(target=web.server.serve_forever, daemon=True).start()
        started.append(web)
        return web

    yield start
    for web in started:
        web.server.shutdown()
        web.server.server_close()
