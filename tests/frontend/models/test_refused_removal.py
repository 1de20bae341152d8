"""DELETE /api/delete asks the store before it ends a model's requests."""

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import falcon.asgi
import falcon.testing
import pytest

from frontend.api import errors
from frontend.api.ollama.store import Delete
from frontend.models.locks import locked
from frontend.models.store import Store
from ipc.in_use import mark
from tests.frontend.models.test_inventory import put, recipe
from tests.frontend.models.tiny import Recorder, convert

OWN = 1  # a host of this server, as far as the store is told


@pytest.fixture
def store(tmp_path: Path, reporter: Recorder) -> Store:
    return Store(tmp_path / "store", reporter, convert)


class Library:
    """Serves one model, and notes for which names requests were ended."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.ended: list[str] = []

    def folder(self, _: str) -> str:
        return self._folder

    @contextlib.asynccontextmanager
    async def removing(self, names: list[str]):
        self.ended += names
        yield


def delete(library: Library, store: str) -> Any:
    route = SimpleNamespace(hosts=[SimpleNamespace(pid=OWN), SimpleNamespace(pid=None)])
    router = SimpleNamespace(names=SimpleNamespace(all=set()), routes={"mine": route}, removing=set())
    app = falcon.asgi.App()
    errors.install(app)
    server: Any = SimpleNamespace(router=router, library=library, store=store)
    app.add_route("/api/delete", Delete(server))
    return falcon.testing.TestClient(app).simulate_delete("/api/delete", json={"model": "mine"})


def test_what_the_store_does_not_remove_goes_on(store):
    folder = put(store, recipe())
    library = Library(str(folder))
    with locked(store.root, f"files/{folder.parent.name}"):
        assert delete(library, str(store.root)).status_code == 409
    descriptor = mark(folder)  # by this process, which is no host of the server
    assert delete(library, str(store.root)).status_code == 409
    os.close(descriptor)
    assert library.ended == []
    assert folder.exists()


def test_what_it_removes_ends_first(store):
    folder = put(store, recipe())
    library = Library(str(folder))
    assert delete(library, str(store.root)).status_code == 200
    assert library.ended == ["mine"]
    assert not folder.exists()
