"""Polls a registry, keeps its last document, and lets the models that are served follow it.

A document that is invalid changes nothing, and neither does a registry that is down: the last valid document
counts, also after a restart. Models of the settings file are served whatever the registry says.
"""

import asyncio
import hashlib
import logging
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from frontend.config import ConfigError, ModelSettings
from frontend.errors import ServerError
from frontend.models.errors import ModelError
from frontend.remote.registry_document import MAX_BYTES, read_document

FETCH_SECONDS = 10.0
_JITTER = 0.1

log = logging.getLogger("nacelle.registry")


class Fetched(msgspec.Struct, frozen=True):
    """A document, or the word that the last one still counts."""

    body: bytes | None  # None: not modified
    etag: str | None


Fetch = Callable[[str | None], Awaitable[Fetched]]  # takes the etag of the last document; raises FetchFailed


class FetchFailed(Exception):
    """There is no answer, or none with a document."""


class Serving(Protocol):
    """What the registry's models are given to."""

    async def add(self, model: ModelSettings) -> None:
        """Raises ServerError, ModelError or ConfigError."""

    async def remove(self, name: str) -> None:
        """Once it has finished what it has."""


class RegistryMetrics(Protocol):
    def registry_state(self, up: bool, models: int, at: float | None) -> None: ...


class _Kept(msgspec.Struct):
    url: str
    etag: str | None
    body: bytes


class Registry:
    """One registry. Times are in seconds."""

    def __init__(
        self,
        url: str,
        every_seconds: float,
        fetch: Fetch,
        serving: Serving,
        kept: Path,
        metrics: RegistryMetrics,
    ) -> None:
        """`kept`: the file that keeps the last document."""
        self._url = url
        self._every = every_seconds
        self._fetch = fetch
        self._serving = serving
        self._file = kept
        self._metrics = metrics
        self._etag: str | None = None
        self._wanted: dict[str, ModelSettings] = {}
        self._served: dict[str, ModelSettings] = {}
        self._failed: dict[str, str] = {}  # models that could not be added, and why
        self._problem: str | None = ""  # with the registry; None: it is up; empty: not known yet
        self._fetched_at: float | None = None  # in Unix seconds

    async def run(self) -> None:
        """For ever."""
        try:
            await self._recall()
        except Exception:  # the next document may be better
            log.exception("the registry %s: its last document cannot be followed", self._url)
        while True:
            try:
                await self.poll()
            except Exception:  # whatever it is, the next document may be better
                log.exception("the registry %s cannot be followed", self._url)
            await asyncio.sleep(self._every * (1 + _JITTER * random.random()))  # noqa: S311

    async def poll(self) -> None:
        try:
            fetched = await self._fetch(self._etag)
            if fetched.body is not None:
                wanted = {model.name: model for model in read_document(fetched.body)}
        except (FetchFailed, ConfigError) as error:
            self._note(str(error))
        else:
            self._fetched_at = time.time()
            if fetched.body is not None:
                self._wanted, self._etag = wanted, fetched.etag
                await asyncio.to_thread(self._keep, fetched)
            self._note(None)
        await self._follow()
        self._metrics.registry_state(self._problem is None, len(self._served), self._fetched_at)

    def _note(self, problem: str | None) -> None:
        """Log what has changed."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem is None:
            log.info("the registry %s lists %d models", self._url, len(self._wanted))
        else:
            log.warning("the registry %s: %s; its last document counts", self._url, problem)

    # --- the models ---

    async def _follow(self) -> None:
        """Let what is served become what is wanted; what could not be added is tried again each time."""
        for name, model in list(self._served.items()):
            if self._wanted.get(name) != model:
                await self._serving.remove(name)
                del self._served[name]
                log.info("%s is no longer served as the registry listed it", name)
        for name, model in self._wanted.items():
            if name not in self._served:
                await self._add(model)
        self._failed = {name: why for name, why in self._failed.items() if name in self._wanted}

    async def _add(self, model: ModelSettings) -> None:
        try:
            await self._serving.add(model)
        except (ServerError, ModelError, ConfigError, OSError) as error:
            if self._failed.get(model.name) != str(error):
                log.warning("the registry's model %s cannot be served: %s", model.name, error)
            self._failed[model.name] = str(error)
        else:
            self._failed.pop(model.name, None)
            self._served[model.name] = model
            log.info("%s is served, as the registry lists it", model.name)

    # --- the last document ---

    async def _recall(self) -> None:
        """Begin with the document of the last run."""
        try:
            kept = msgspec.msgpack.decode(self._file.read_bytes(), type=_Kept)
            wanted = {model.name: model for model in read_document(kept.body)}
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            log.warning("the registry's last document is lost: %s", error)
            return
        if kept.url == self._url:
            self._wanted, self._etag = wanted, kept.etag
            await self._follow()

    def _keep(self, fetched: Fetched) -> None:
        """Whole or not at all."""
        assert fetched.body is not None
        data = msgspec.msgpack.encode(_Kept(self._url, fetched.etag, fetched.body))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f"{self._file.name}.", dir=self._file.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(self._file)
        except OSError as error:
            log.warning("the registry's document cannot be kept: %s", error)


def kept_file(store: Path, url: str) -> Path:
    return store / "registry" / hashlib.sha256(url.encode()).hexdigest()[:16]


def http_fetch(url: str, api_key: str | None) -> Fetch:
    """Fetches over HTTP with If-None-Match. Redirects to other servers are refused."""

    async def fetch(etag: str | None) -> Fetched:
        import aiohttp  # slow to import

        from frontend.remote.backend import Backend
        from frontend.remote.client import client_session, words_of

        headers = {"Accept": "application/json"} | ({"If-None-Match": etag} if etag else {})
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        try:
            async with (
                client_session(Backend(url, "", api_key), auto_decompress=True) as session,
                session.get(url, headers=headers, timeout=timeout) as response,
            ):
                if response.status == 304:
                    return Fetched(None, etag)
                if response.status != 200:
                    raise FetchFailed(f"it answers with status {response.status}")
                return Fetched(await _read(response.content), response.headers.get("ETag"))
        except (aiohttp.ClientError, OSError) as error:
            raise FetchFailed(words_of(error)) from None

    return fetch


class _Stream(Protocol):
    async def readany(self) -> bytes: ...


async def _read(stream: _Stream) -> bytes:
    data = b""
    while part := await stream.readany():
        data += part
        if len(data) > MAX_BYTES:
            raise FetchFailed(f"its document has more than {MAX_BYTES} bytes")
    return data
