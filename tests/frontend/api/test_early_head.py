"""A body that is too large is refused as soon as its head has arrived, on a real socket."""

import json
from pathlib import Path

import falcon.asgi
import pytest

from frontend.api import errors
from frontend.api.body import read_body
from frontend.api.early_head import EarlyHead
from frontend.api.uploads import read_form
from frontend.config import Settings
from frontend.http.asgi import Application
from frontend.http.stack import with_stack
from frontend.observability.metrics import Metrics
from frontend.spool import Spools
from tests.frontend.http.serving import Connected, with_connection

LIMIT = 1000


class Length:
    """Answers with the length of the body, in bytes."""

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.text = str(len(await read_body(request, LIMIT)))


class Upload:
    """Takes more than others, like recordings."""

    def __init__(self, folder: Path) -> None:
        self._spools = Spools(folder, 10 * LIMIT)

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        async with read_form(request, self._spools, 2 * LIMIT) as form:
            response.text = str(len(form.file) if form.file is not None else 0)


def app_with(folder: Path) -> Application:
    app = falcon.asgi.App()
    errors.install(app)
    app.add_route("/length", Length())
    app.add_route("/upload", Upload(folder))
    return with_stack(EarlyHead(app, LIMIT), Settings(), Metrics())


def head(path: str, length: int, *lines: str) -> bytes:
    return "\r\n".join(
        (f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {length}", *lines, "", "")
    ).encode()


@pytest.mark.parametrize("path", ["/length", "/upload"])
@pytest.mark.parametrize("lines", [(), ("expect: 100-continue",)], ids=["", "expecting"])
@pytest.mark.parametrize("length", [10**7, 10**18])
def test_the_head_of_a_body_that_is_too_large_is_enough(tmp_path, path, lines, length):
    form = "content-type: multipart/form-data; boundary=b"

    async def scenario(connection: Connected) -> None:
        await connection.say(head(path, length, form, *lines))
        status, body = await connection.heard()
        assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")

    with_connection(scenario, app_with(tmp_path))


@pytest.mark.parametrize("length", [0, 5, LIMIT])
def test_a_body_within_the_limit_is_read(tmp_path, length):
    async def scenario(connection: Connected) -> None:
        await connection.say(head("/length", length))
        await connection.say(b" " * length)
        assert await connection.heard() == (200, str(length).encode())

    with_connection(scenario, app_with(tmp_path))


def test_an_upload_beyond_the_limit_of_others_is_read_as_ever(tmp_path):
    begin = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = begin + b"x" * (LIMIT + 500) + b"\r\n--b--\r\n"

    async def scenario(connection: Connected) -> None:
        await connection.say(head("/upload", len(body), "content-type: multipart/form-data; boundary=b"))
        await connection.say(body[:700])
        await connection.say(body[700:])
        assert await connection.heard() == (200, str(LIMIT + 500).encode())

    with_connection(scenario, app_with(tmp_path))
