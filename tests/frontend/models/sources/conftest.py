"""Web servers, and a Puller whose conversions copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from frontend.models.puller import Puller
from frontend.models.resolve import Preparer
from frontend.models.store import Store
from tests.frontend.models.sources.web_servers import FileServer, HubServer
from tests.frontend.models.tiny import Recorder, check, convert


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # engines are kept offline
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.close()


@pytest.fixture
def naps() -> list[float]:
    """The back-off times that were slept, without sleeping."""
    return []


@pytest.fixture
def store(tmp_path: Path, reporter: Recorder) -> Store:
    return Store(tmp_path / "store", reporter, convert)


@pytest.fixture
def puller(store: Store, reporter: Recorder, naps: list[float]) -> Puller:
    return Puller(store, Preparer(store, reporter, {}, check), reporter, {}, naps.append)


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()
