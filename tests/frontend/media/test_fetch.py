"""Fetching images from a server on this machine: what it may send, and where a connection may lead."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from frontend.media import fetch as module
from frontend.media.fetch import fetch
from frontend.media.given import FetchRules, ImageRefused, Media

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
LIMIT = 10_000


def rules(**changed) -> FetchRules:
    usual = {"domains": frozenset({"*"}), "allow_private": True, "max_bytes": LIMIT, "seconds": 20.0}
    return FetchRules(**{**usual, **changed})


class WebServer:
    """Answers each path with what `answers` holds for it, and keeps the requests."""

    def __init__(self):
        self.answers: dict[str, Callable[[web.Request], Any]] = {
            "/a.png": lambda request: web.Response(body=PNG, content_type="image/png")
        }
        self.port = 0
        self.requests = []
        self.ended = asyncio.Event()  # a handler was left

    async def handle(self, request):
        self.requests.append(request)
        try:
            answer = self.answers[request.path](request)
            return answer if isinstance(answer, web.Response) else await answer
        finally:
            self.ended.set()

    def url(self, path="/a.png", host="127.0.0.1", scheme="http"):
        return f"{scheme}://{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def web_server():
    server = WebServer()
    runner = web.ServerRunner(web.Server(server.handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def run(scenario):
    async def inside():
        async with web_server() as server:
            await asyncio.wait_for(scenario(server), 30)

    asyncio.run(inside())


async def reason(url, **changed):
    with pytest.raises(ImageRefused) as caught:
        await fetch(url, rules(**changed))
    return str(caught.value)


@pytest.fixture
def names(monkeypatch):
    """Names that resolve to the addresses they are given here, in turn; and how often they were asked for."""
    table: dict[str, list[str]] = {}
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if host not in table:
            return resolve(host, port, *args, **kwargs)
        asked.append(host)
        addresses = table[host]
        found = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [
            answer for address in found.split() for answer in resolve(address, port, type=socket.SOCK_STREAM)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return table, asked


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        ({"Content-Type": "image/png"}, "image/png"),
        ({"Content-Type": "IMAGE/Jpeg; charset=binary"}, "image/jpeg"),
        ({"Content-Type": "application/octet-stream"}, "application/octet-stream"),
        ({"Content-Type": "binary/octet-stream"}, "binary/octet-stream"),
        ({"Content-Type": "image/png", "Content-Encoding": "identity"}, "image/png"),
    ],
)
def test_an_image_is_fetched_with_the_type_that_its_server_states(headers, media_type):
    async def scenario(server):
        server.answers["/a"] = lambda request: web.Response(body=PNG, headers=headers)
        assert await fetch(server.url("/a"), rules()) == Media(media_type, PNG)

    run(scenario)


def test_a_request_carries_nothing_of_this_machine(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def scenario(server):
        def set_cookie(request):
            answer = web.Response(status=302, headers={"Location": "/a.png"})
            answer.set_cookie("a", "b")
            return answer

        server.answers["/first"] = set_cookie
        await fetch(server.url("/first"), rules())
        await fetch(server.url(), rules())
        assert [request.path for request in server.requests] == ["/first", "/a.png", "/a.png"]
        for request in server.requests:
            assert {name.lower() for name in request.headers} == {
                "host",
                "user-agent",
                "accept",
                "accept-encoding",
                "connection",
            }
            assert request.headers["Accept-Encoding"] == "identity"

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (web.Response(status=404), "status 404"),
        (web.Response(status=500, body=PNG, content_type="image/png"), "status 500"),
        (web.Response(status=206, body=PNG, content_type="image/png"), "status 206"),
        (web.Response(text="<html>"), "Content-Type"),
        (web.Response(body=b"", content_type="image/png"), "empty"),
        (
            web.Response(body=PNG, headers={"Content-Type": "image/png", "Content-Encoding": "gzip"}),
            "compresses",
        ),
        (web.Response(body=b"x" * (LIMIT + 1), content_type="image/png"), f"more than {LIMIT} bytes"),
        (web.Response(status=302), "redirects to nowhere"),
        (web.Response(status=302, headers={"Location": "file:///etc/passwd"}), "is redirected to a URL that"),
        (
            web.Response(status=307, headers={"Location": "http://169.254.169.254/"}),
            "is redirected to a URL that",
        ),
        (web.Response(status=302, headers={"Location": "/loop"}), "redirects more than 3 times"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_image_within_the_limits_is_refused(answer, complaint):
    async def scenario(server):
        server.answers["/loop"] = lambda request: web.Response(
            status=answer.status, body=answer.body, headers=answer.headers
        )
        assert complaint in await reason(server.url("/loop"))
        assert len(server.requests) == (4 if "times" in complaint else 1)

    run(scenario)


def test_three_redirects_are_followed():
    async def scenario(server):
        for number in range(3):
            target = "/a.png" if number == 2 else f"/{number + 1}"
            server.answers[f"/{number}"] = lambda request, to=target: web.Response(
                status=302, headers={"Location": to}
            )
        assert (await fetch(server.url("/0"), rules())).payload == PNG

    run(scenario)


async def endless(request, part, pause):
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    while True:
        await response.write(part)
        await asyncio.sleep(pause)


def test_a_file_without_a_stated_size_is_read_up_to_the_limit():
    async def scenario(server):
        server.answers["/endless"] = lambda request: endless(request, b"x" * 1000, 0)
        assert f"more than {LIMIT} bytes" in await reason(server.url("/endless"))
        await server.ended.wait()

    run(scenario)


@pytest.mark.parametrize("part", [b"x", b""], ids=["trickling", "silent"])
def test_a_slow_server_is_left_when_the_time_is_over(part):
    async def scenario(server):
        server.answers["/slow"] = lambda request: (
            endless(request, part, 0.01) if part else asyncio.Event().wait()
        )
        began = time.monotonic()
        assert "within 0.3 seconds" in await reason(server.url("/slow"), seconds=0.3)
        assert time.monotonic() - began < 10
        await server.ended.wait()

    run(scenario)


def test_time_is_for_all_redirects_together():
    async def scenario(server):
        async def late(request):
            await asyncio.sleep(0.25)
            return web.Response(status=302, headers={"Location": "/late"})

        server.answers["/late"] = late
        assert "within 0.4 seconds" in await reason(server.url("/late"), seconds=0.4)

    run(scenario)


def test_a_fetch_that_is_cancelled_leaves_its_server():
    async def scenario(server):
        begun = asyncio.Event()

        async def wait(request):
            begun.set()
            await asyncio.Event().wait()

        server.answers["/wait"] = wait
        task = asyncio.create_task(fetch(server.url("/wait"), rules()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.ended.wait()

    run(scenario)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_server_that_does_not_speak_http_is_an_error_that_names_no_address(reply):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    async def scenario(_):
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            text = await reason(f"http://localhost:{port}/")
        assert text == "could not be fetched: its server cannot be reached or answers wrongly"
        assert await reason(f"http://localhost:{port}/") == text  # nobody listens now

    run(scenario)


def test_a_server_without_tls_is_not_asked_without_it():
    async def scenario(server):
        assert "no trusted TLS connection" in await reason(server.url(scheme="https"))
        assert not server.requests

    run(scenario)


@pytest.mark.parametrize("addresses", ["127.0.0.1", "10.0.0.1", "93.184.216.34 127.0.0.1", "169.254.169.254"])
def test_a_name_that_leads_to_a_private_address_is_refused_without_a_connection(names, addresses):
    async def scenario(server):
        names[0]["images.example"] = [addresses]
        text = await reason(server.url(host="images.example"), allow_private=False)
        assert text.startswith("does not lead to a public address")
        assert not server.requests

    run(scenario)


def test_a_redirect_is_vetted_like_the_first_url(names):
    async def scenario(server):
        names[0].update({"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"], "c.test": ["127.0.0.1"]})
        server.answers["/b"] = lambda request: web.Response(
            status=302, headers={"Location": server.url(host="b.example")}
        )
        server.answers["/c"] = lambda request: web.Response(
            status=302, headers={"Location": server.url(host="c.test")}
        )
        allowed = frozenset({".example"})
        assert (await fetch(server.url("/b", "a.example"), rules(domains=allowed))).payload == PNG
        assert "is redirected" in await reason(server.url("/c", "a.example"), domains=allowed)
        assert [request.path for request in server.requests] == ["/b", "/a.png", "/c"]

    run(scenario)


def test_a_name_that_changes_its_address_is_asked_for_once_per_connection(names):
    """The first answer is vetted and used; a second one, which nobody vets, must not be."""

    async def scenario(server):
        names[0]["rebinding.example"] = ["127.0.0.1", "169.254.169.254"]
        assert (await fetch(server.url(host="rebinding.example"), rules())).payload == PNG
        assert names[1] == ["rebinding.example"]
        assert "public address" in await reason(server.url(host="rebinding.example"))

    run(scenario)


def test_whatever_finds_an_address_it_is_vetted_before_the_connection(monkeypatch):
    async def blind(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}
        ]

    monkeypatch.setattr(module._VettingResolver, "resolve", blind)

    async def scenario(server):
        assert (await fetch(server.url(host="a.example"), rules())).payload == PNG
        assert "cannot be reached" in await reason(server.url(host="a.example"), allow_private=False)
        assert len(server.requests) == 1

    run(scenario)


def test_the_version_of_the_library_takes_our_sockets():
    assert "socket_factory" in aiohttp.TCPConnector.__init__.__annotations__
