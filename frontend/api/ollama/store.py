"""DELETE /api/delete and POST /api/copy: what changes the models in the store."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import falcon.asgi
import msgspec

from frontend.access.sight import asking, refuse_others, sight
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.local_paths import refuse_local_path
from frontend.api.ollama.names import naming_missing
from frontend.api.ollama.requests import ModelRequest
from frontend.api.openapi.operation import CHANGES, describes
from frontend.api.schema.common import ModelName
from frontend.caller import ANYBODY
from frontend.errors import BadRequest, Conflict, ModelNotFound
from frontend.models.errors import ModelError, ModelMissing
from frontend.models.inventory import Installed, Inventory
from frontend.models.manifest import canonical
from frontend.models.root import store_root

_BODY_BYTES = 64 * 1024


class CopyRequest(msgspec.Struct):
    source: ModelName
    destination: ModelName


_decode_delete = msgspec.json.Decoder(ModelRequest)
_decode_copy = msgspec.json.Decoder(CopyRequest)


class _Changes:
    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._library = server.library
        self._store = server.store
        self._changing = asyncio.Lock()

    async def _installed(self, name: str, param: str) -> Installed:
        """The model of the store that is served by this name, or has it. Raises ModelNotFound or Conflict."""
        refuse_local_path(name, param)
        if not sight().has(name):
            with naming_missing(name):
                raise ModelNotFound(name)
        if name in self._router.names.all:
            raise BadRequest(f"{param}: {name!r} is another name of a model; see POST /admin/alias", param)
        try:
            folder = self._library.folder(name)
        except ModelNotFound:
            folder = None
        found = await asyncio.to_thread(_find, self._store, name, folder)
        if found is not None:
            return found
        if folder is None:
            with naming_missing(name):
                raise ModelNotFound(name)
        raise Conflict(f"the files of {name!r} are not in the store; they are changed where they are", param)

    def _served_from(self, folder: Path) -> list[str]:
        """The names of served models with the files in this folder."""
        names = [name for name in self._router.routes if name not in self._router.removing]
        with asking(ANYBODY):  # also those that whoever asks may not use: they have the same files
            return [name for name in names if _is(self._library.folder(name), folder)]

    def _hosts_of(self, names: Sequence[str]) -> set[int]:
        """The ids of the processes that have these models loaded for this server."""
        routes = [self._router.routes[name] for name in names if name in self._router.routes]
        return {host.pid for route in routes for host in route.hosts if host.pid is not None}


class Delete(_Changes):
    """The model is not served any longer, under any name, and its files are removed."""

    @describes(
        "Remove a model", body=ModelRequest, is_empty=True, errors=CHANGES, example={"model": "nosuch"}
    )
    async def on_delete(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, _BODY_BYTES, _decode_delete)
        async with self._changing:
            installed = await self._installed(body.wanted, "model")
            names = self._served_from(installed.path)
            if installed.name not in self._router.routes:  # nor is it found in the store meanwhile
                names.append(installed.name)
            inventory = Inventory(store_root(self._store))
            with _conflicts(body.wanted):  # before any request is ended for it
                await asyncio.to_thread(inventory.check_removal, installed.name, self._hosts_of(names))
            async with self._library.removing(names):
                with _conflicts(body.wanted):
                    await asyncio.to_thread(inventory.remove, installed.name)


class Copy(_Changes):
    """The copy is served as the model is: loaded on demand."""

    @describes(
        "A second name for a model of the store",
        body=CopyRequest,
        is_empty=True,
        errors=CHANGES,
        example={"source": "nosuch", "destination": "second"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, _BODY_BYTES, _decode_copy)
        refuse_local_path(body.destination, "destination")
        new = canonical(body.destination)
        async with self._changing:
            installed = await self._installed(body.source, "source")
            refuse_others(new)
            if new in self._router.routes or new in self._router.names.all:
                raise Conflict(f"destination: a model named {new!r} is served already", "destination")
            with _conflicts(body.source):
                await asyncio.to_thread(Inventory(store_root(self._store)).copy, installed.name, new)
            await self._library.add(new)


@contextlib.contextmanager
def _conflicts(name: str) -> Iterator[None]:
    """What the store refuses is a ServerError."""
    try:
        yield
    except ModelMissing:
        with naming_missing(name):
            raise ModelNotFound(name) from None
    except ModelError as error:
        raise Conflict(str(error)) from error


def _find(store: str | None, name: str, folder: str | None) -> Installed | None:
    """The model in this folder of the store; if None is served by the name, the one that has it."""
    inventory = Inventory(store_root(store))
    if folder is None:
        return inventory.installed_named(name)
    return next((one for one in inventory.installed() if _is(folder, one.path)), None)


def _is(folder: str, path: Path) -> bool:
    return bool(folder) and Path(folder).resolve() == path.resolve()


def install(app: App, server: Server) -> None:
    app.add_route("/api/delete", Delete(server))
    app.add_route("/api/copy", Copy(server))
