"""Serves what a registry lists beside the models of the settings file, which come first."""

import asyncio
import logging
from pathlib import Path

from frontend.config import ModelSettings, Settings
from frontend.errors import Conflict, ServerError
from frontend.library import Library
from frontend.local_models import LocalModels
from frontend.models.catalogue import load_catalogue
from frontend.models.errors import ModelError
from frontend.models.options import REMOTE, SYNTHETIC, engine_kind
from frontend.models.reporter import Silent
from frontend.models.resolve import PreparedModel, preparer_for
from frontend.remote.backend import backends_of
from frontend.remote.remotes import Remotes
from frontend.routing.route import wait_until_idle
from frontend.routing.router import Router
from frontend.shortened import quoted

log = logging.getLogger("nacelle.registry")


class Registered:
    """Implements `registry.Serving`."""

    def __init__(
        self, settings: Settings, router: Router, models: LocalModels, library: Library, remotes: Remotes
    ) -> None:
        self._settings = settings
        self._router = router
        self._models = models
        self._library = library
        self._remotes = remotes
        self._loading: set[asyncio.Task[None]] = set()

    async def add(self, model: ModelSettings) -> None:
        if model.name in self._router.routes:
            raise Conflict(f"{model.name} is served already, with other settings")
        self._router.check_free(model.name)
        backends_of(model)  # a key that is missing is noticed first
        if model.source != REMOTE:
            for prepared in await asyncio.to_thread(self._prepare, model):
                self._models.add(prepared)
        self._remotes.serve(model)
        if model.source != REMOTE and model.preload:
            task = asyncio.create_task(self._load(model.name))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)

    def _prepare(self, model: ModelSettings) -> list[PreparedModel]:
        is_name = engine_kind(model) == SYNTHETIC or model.source in load_catalogue()
        if not is_name and Path(model.source).exists():  # in the working folder
            raise ModelError(f"{quoted(model.source)} is a file or folder, which a registry cannot name")
        return preparer_for(self._settings.store, Silent()).prepare_all(model)

    async def _load(self, name: str) -> None:
        try:
            await self._library.load(name)
        except ServerError as error:
            log.warning("%s", error)

    async def remove(self, name: str) -> None:
        """What it has may take as long as at a shutdown."""
        route = self._router.routes.get(name)
        if route is None:
            return
        await wait_until_idle(route, self._settings.drain_seconds)
        if self._router.routes.get(name) is route and name not in self._router.removing:
            await self._library.remove(name)
