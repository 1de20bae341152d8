"""POST /api/pull: downloads a model into the store, and serves it."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import falcon.asgi
import msgspec

from frontend.access.sight import refuse_others
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.client import on_leave_of
from frontend.api.errors import renaming_params
from frontend.api.generating import respond_json
from frontend.api.local_paths import refuse_local_path
from frontend.api.ollama.ndjson import NDJSON, line
from frontend.api.ollama.progress import MANIFEST, SUCCESS, Progress, ProgressLines
from frontend.api.ollama.requests import ModelRequest
from frontend.api.openapi.operation import CHANGES, describes
from frontend.api.sse import failed, respond_events
from frontend.config_sources import default_name
from frontend.downloads import Download, Downloads
from frontend.errors import ClientGone
from frontend.http.exchange import CLIENT_GONE, exchange_of
from frontend.models.manifest import canonical

_ACTIVE = ("queued", "running")
_BODY_BYTES = 64 * 1024


class PullRequest(ModelRequest, kw_only=True):
    stream: bool | None = None
    insecure: bool | None = None  # has no effect: certificates are always checked


_decoder = msgspec.json.Decoder(PullRequest)


class Pull:
    """Requests for one model share one download. It ends when the last of them leaves, unless somebody else
    began it; what was downloaded stays for the next one."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads
        self._waiting: Counter[str] = Counter()  # requests, by the ids of downloads that began here

    @describes(
        "Download a model and serve it",
        body=PullRequest,
        answer=Progress,
        lines=Progress,
        errors=CHANGES,
        example={"model": "nosuch", "stream": False},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, _BODY_BYTES, _decoder)
        refuse_local_path(body.wanted, "model")
        source = canonical(body.wanted)
        refuse_others(default_name(source))
        with renaming_params({"source": "model"}):
            download = self._start(source)
        left = asyncio.Event()
        on_leave_of(request)(left.set)
        if body.stream is False:
            await self._wait(download.id, left)
            respond_json(response, SUCCESS)
        else:
            begin = self._begin(download.id, left, request)
            await respond_events(request, response, begin, NDJSON.error, NDJSON.content_type)

    def _start(self, source: str) -> Download:
        """Raises BadRequest or QueueFull."""
        known = {download.id for download in self._downloads.list()}
        download = self._downloads.start(source)
        if download.id not in known:
            self._waiting[download.id] = 0
        return download

    async def _wait(self, id: str, left: asyncio.Event) -> None:
        """Raises DownloadFailed or ClientGone."""
        lines = ProgressLines()
        async with aclosing(self._followed(id, left)) as changes:
            async for download in changes:
                lines.after(download)

    async def _begin(
        self, id: str, left: asyncio.Event, request: falcon.asgi.Request
    ) -> AsyncIterator[bytes]:
        return self._stream(id, left, request)

    async def _stream(
        self, id: str, left: asyncio.Event, request: falcon.asgi.Request
    ) -> AsyncIterator[bytes]:
        exchange, lines = exchange_of(request.scope), ProgressLines()
        yield line(MANIFEST)
        try:
            async with aclosing(self._followed(id, left)) as changes:
                async for download in changes:
                    for progress in lines.after(download):
                        yield line(progress)
        except ClientGone:
            if exchange.cancelled is not None:
                yield NDJSON.error(failed(exchange, exchange.cancelled, "a pull"))
            exchange.fail(CLIENT_GONE)
        except Exception as error:
            yield NDJSON.error(failed(exchange, error, "a pull"))

    async def _followed(self, id: str, left: asyncio.Event) -> AsyncGenerator[Download, None]:
        """The download after each change, to its end. Raises ClientGone once `left` is set."""
        changes = cast("AsyncGenerator[Download, None]", self._downloads.follow(id))
        gone = asyncio.ensure_future(left.wait())
        change = asyncio.ensure_future(anext(changes, None))
        if id in self._waiting:
            self._waiting[id] += 1
        try:
            while True:
                await asyncio.wait((change, gone), return_when=asyncio.FIRST_COMPLETED)
                if not change.done():
                    raise ClientGone
                if (download := change.result()) is None:
                    return
                yield download
                change = asyncio.ensure_future(anext(changes, None))
        finally:
            for task in (change, gone):
                task.cancel()
            await asyncio.wait([change])
            await changes.aclose()
            await self._leave(id)

    async def _leave(self, id: str) -> None:
        if id not in self._waiting:
            return
        self._waiting[id] -= 1
        if not self._waiting[id]:
            del self._waiting[id]
            if self._downloads.get(id).state in _ACTIVE:
                await self._downloads.cancel(id)


def install(app: App, server: Server) -> None:
    app.add_route("/api/pull", Pull(server.downloads))
