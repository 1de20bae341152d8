"""Multipart forms whose file goes to disk as it comes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import falcon.asgi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.body import read_body
from frontend.api.files import file_of
from frontend.api.uploads import Form, read_form
from frontend.config import ConfigError
from frontend.errors import BadRequest, Overloaded, RequestCancelled, RequestTooLarge
from frontend.http.client import DisconnectWatch
from frontend.http.exchange import Exchange, attach
from frontend.spool import Spools
from frontend.spool_folder import spool_folder

BOUNDARY = b"boundary"
TYPE = "multipart/form-data; boundary=boundary"


def part(name: str, value: bytes, file_name: str | None = None) -> bytes:
    named = f'; filename="{file_name}"' if file_name is not None else ""
    return b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (
        BOUNDARY,
        name.encode(),
        named.encode(),
        value,
    )


END = b"--" + BOUNDARY + b"--\r\n"


class Stream:
    """A body that comes in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await asyncio.sleep(0)
            yield piece


def request_of(pieces: list[bytes], content_type: str = TYPE, length: int | None = None) -> Any:
    return SimpleNamespace(stream=Stream(pieces), content_type=content_type, content_length=length)


def reading(
    body: list[bytes],
    look: Callable[[Form], Any],
    tmp_path: Any,
    limit: int = 10**6,
    room: int = 10**9,
    **fields: Any,
) -> Any:
    async def run() -> Any:
        spools = Spools(tmp_path, room)
        try:
            async with read_form(request_of(body, **fields), spools, limit) as form:
                return look(form)
        finally:
            assert spools._held == 0  # whatever happens

    return asyncio.run(run())


def content(form: Form) -> Any:
    return form.fields, form.file is not None and form.file.read(), form.file_name


@given(st.binary(max_size=300_000), st.integers(min_value=1, max_value=70_000), st.booleans())
def test_a_form_is_read_whole_however_it_is_cut_and_ordered(tmp_path_factory, data, size, file_first):
    file, model = part("file", data, "a.wav"), part("model", b"w") + part("x[]", b"1") + part("x[]", b"2")
    body = (file + model if file_first else model + file) + END
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    fields, read, name = reading(pieces, content, tmp_path_factory.getbasetemp())
    assert (fields, read, name) == ({"model": ["w"], "x[]": ["1", "2"]}, data, "a.wav")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ([part("file", b"x" * 101) + END], RequestTooLarge),
        ([part("file", b"x"), part("file", b"y"), END], BadRequest),
        ([part("a", b"x" * 300_000), END], RequestTooLarge),
        ([part(f"a{n}", b"x" * 200_000) for n in range(6)] + [END], RequestTooLarge),
        ([b"x" * 700_000, b"x" * 700_000], RequestTooLarge),  # before the first part
        ([part("a", b"\xff"), END], BadRequest),
        ([part("file", b"x", "NAME").replace(b"NAME", b"\xff"), END], BadRequest),
        (
            [part("file", b"x", "NAME").replace(b'filename="NAME"', rb"filename*=unicode_escape''\ud800")],
            BadRequest,
        ),
        ([part("NAME", b"x").replace(b"NAME", b"\xff"), END], BadRequest),
        ([part("a", b"1")] * 300 + [END], falcon.HTTPError),
        ([part("file", b"x")], falcon.HTTPError),  # never ends
        ([b"no form"], falcon.HTTPError),
        ([], falcon.HTTPError),
    ],
)
def test_a_form_that_is_wrong_is_refused_and_nothing_is_kept(tmp_path, body, error):
    with pytest.raises(error):
        reading(body, content, tmp_path, limit=100)


def test_a_file_that_is_announced_as_too_large_is_not_read(tmp_path):
    with pytest.raises(RequestTooLarge, match="file exceeds 100 bytes"):
        reading([], content, tmp_path, limit=100, length=3_000_000)


@pytest.mark.parametrize("content_type", ["application/json", "", "multipart/form-data"])
def test_a_body_that_is_no_form_is_refused(tmp_path, content_type):
    with pytest.raises((BadRequest, falcon.HTTPError)):
        reading([END], content, tmp_path, content_type=content_type)


def test_heads_that_take_long_to_read_are_refused(tmp_path):
    with pytest.raises(BadRequest, match="Content-Type"):
        reading([END], content, tmp_path, content_type=f'{TYPE}; x="{";" * 2000}')
    with pytest.raises(falcon.HTTPError):
        reading([part(";" * 3000, b"x"), END], content, tmp_path)


@pytest.mark.parametrize("read", ["form", "body"])
def test_a_request_that_is_cancelled_while_its_body_arrives_is_not_done(tmp_path, read):
    exchange = Exchange("id", 0.0)
    request = request_of([part("file", b"x"), END])

    async def app(*_: Any) -> None:
        assert exchange.end is not None
        exchange.end(RequestCancelled("by an operator"))
        if read == "body":
            await read_body(request, 1000)
        else:
            async with read_form(request, Spools(tmp_path, 1000), 100):
                pass

    async def nothing(*_: Any) -> Any:
        return {}

    scope = attach({"type": "http"}, exchange)
    with pytest.raises(RequestCancelled):
        asyncio.run(DisconnectWatch(app, time.monotonic)(scope, nothing, nothing))


def test_uploads_share_a_limited_room(tmp_path):
    with pytest.raises(Overloaded, match="uploads of other requests"):
        reading([part("file", b"x" * 1000), END], content, tmp_path, room=999)


def test_a_field_that_may_occur_once_may_not_occur_twice(tmp_path):
    with pytest.raises(BadRequest, match="model must occur once"):
        reading([part("model", b"a"), part("model", b"b"), END], lambda form: form.one("model"), tmp_path)


def test_an_upload_has_no_name_in_its_folder(tmp_path):
    assert reading([part("file", b"x"), END], lambda _: list(tmp_path.iterdir()), tmp_path) == []


def test_the_digest_is_that_of_the_content(tmp_path):
    def digest(form: Form) -> bytes:
        assert form.file is not None
        return form.file.digest

    first, again, other = (
        reading([part("file", data), END], digest, tmp_path, limit=10**7)
        for data in (b"a" * 2_000_000, b"a" * 2_000_000, b"b")
    )
    assert first == again != other


def test_uploads_are_kept_on_a_disk_where_there_is_one():
    assert os.access(spool_folder(None), os.W_OK)


def test_a_folder_that_cannot_be_written_to_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="choose a folder with --spool"):
        spool_folder(str(tmp_path / "none"))


def test_the_purpose_of_a_file_is_one_of_a_list(tmp_path):
    spool = Spools(tmp_path, 100).create()
    with pytest.raises(BadRequest) as caught:
        file_of(Form({"purpose": ["batches"]}, spool), "", 0)
    spool.close()
    assert caught.value.param == "purpose"
    assert caught.value.message == (
        "purpose: must be one of assistants, batch, evals, fine-tune, user_data, vision, not 'batches'"
    )
