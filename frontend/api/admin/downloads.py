"""/admin/downloads: downloads of models into the server's store.

Callers with a list of models see, start and end only downloads of these models.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import falcon
import falcon.asgi
import msgspec
from msgspec import Meta

from frontend.access.sight import refuse_others, sight
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import CHANGES, describes
from frontend.api.sse import event, respond_events
from frontend.config_sources import default_name
from frontend.downloads import Download, Downloads, no_such
from frontend.http.error_body import error_body

_MAX_BODY_BYTES = 16 * 1024


class DownloadRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`source` is a name of the catalogue, a hub's repository, or a URL; never a path."""

    source: Annotated[str, Meta(min_length=1, max_length=2000)]
    name: Annotated[str, Meta(min_length=1)] | None = None


class DownloadList(msgspec.Struct):
    data: Sequence[Download]
    object: str = "list"


_decoder = msgspec.json.Decoder(DownloadRequest)


class DownloadResources:
    """/admin/downloads, /admin/downloads/{id} (suffix `one`), …/pause, …/resume and …/events."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads

    @describes("Downloads of models", answer=DownloadList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        respond_json(response, DownloadList(list(filter(_is_visible, self._downloads.list()))))

    @describes(
        "Download a model",
        body=DownloadRequest,
        answer=Download,
        status=202,
        errors=CHANGES,
        example={"source": "smollm2"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, _MAX_BODY_BYTES, _decoder)
        refuse_others(body.name or default_name(body.source))
        respond_json(response, self._downloads.start(body.source, body.name))
        response.status = falcon.HTTP_202

    @describes("One download", answer=Download, errors=(404,))
    async def on_get_one(self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str) -> None:
        respond_json(response, self._found(id))

    @describes("Cancel a download", answer=Download, errors=CHANGES)
    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        respond_json(response, await self._downloads.cancel(self._found(id).id))

    @describes("Pause a download", answer=Download, errors=CHANGES)
    async def on_post_pause(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        respond_json(response, await self._downloads.pause(self._found(id).id))

    @describes("Resume a download", answer=Download, errors=CHANGES)
    async def on_post_resume(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        respond_json(response, self._downloads.resume(self._found(id).id))

    @describes("The progress of a download", events=Download, errors=(404,))
    async def on_get_events(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        self._found(id)  # or an HTTP error
        begin = self._events(id)
        await respond_events(request, response, begin, lambda error: event(error_body(error)))

    def _found(self, id: str) -> Download:
        """Raises NotFound."""
        download = self._downloads.get(id)
        if not _is_visible(download):
            raise no_such(id)
        return download

    async def _events(self, id: str) -> AsyncIterator[bytes]:
        return (event(download) async for download in self._downloads.follow(id))


def _is_visible(download: Download) -> bool:
    """To whoever asks."""
    return sight().has(download.model or download.name or default_name(download.source))


def install(app: App, server: Server) -> None:
    resources = DownloadResources(server.downloads)
    app.add_route("/admin/downloads", resources)
    app.add_route("/admin/downloads/{id}", resources, suffix="one")
    for action in ("pause", "resume", "events"):
        app.add_route(f"/admin/downloads/{{id}}/{action}", resources, suffix=action)
