"""Requests that are passed on to servers of other kinds: real sockets, and answers that those may give."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from frontend.caller import Caller
from frontend.config import Settings
from frontend.http.asgi import Message
from frontend.http.client import DisconnectWatch
from frontend.http.exchange import Exchange, attach
from frontend.http.keep_alive import PING
from frontend.remote.proxying import PATHS, Proxying
from frontend.supervision.lifecycle import State
from tests.frontend.http.driving import Answer, answer_of, encoded
from tests.frontend.remote.servers import Handler, Told, serving, until

BODY = {"model": "m", "messages": [{"role": "user", "content": "é 1.00"}], "temperature": 1.0}


def foreign(answer: Handler) -> Handler:
    """A server that takes no work, lists its models, and answers everything else as `answer` does."""

    async def handler(request: web.Request) -> Any:
        if request.path.startswith("/internal/"):
            raise web.HTTPNotFound
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": "theirs"}]})
        return await answer(request)

    return handler


class Client:
    """Asks the layer. `asked_here` are the bodies that reached the application inside."""

    def __init__(self, told: Told, max_body_bytes: int = 1024**2) -> None:
        self.exchange = Exchange("req_1", 0.0)  # of all requests
        self.asked_here: list[bytes] = []
        self._app = DisconnectWatch(
            Proxying(self._here, told.router, max_body_bytes, 10), asyncio.get_running_loop().time
        )

    async def _here(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked_here.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})

    async def post(
        self,
        body: Any = None,
        path: str = "/v1/chat/completions",
        leave: asyncio.Event | None = None,
        **headers: str,
    ) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode()
        waiting: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            await (leave or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        raw = encoded({"content-type": "application/json", **headers})
        scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "extensions": {}}
        await self._app(attach(scope, self.exchange), receive, send)
        return answer_of(sent) if sent else Answer(0, {}, b"")


def against(
    *answers: Handler, max_body_bytes: int = 1024**2
) -> Callable[[Callable[[Told, Client], Awaitable[None]]], None]:
    """Run a scenario with one server per answer, all of which are healthy."""

    def run(scenario: Callable[[Told, Client], Awaitable[None]]) -> None:
        async def main() -> None:
            async with contextlib.AsyncExitStack() as stack:
                told = Told()
                for answer in answers:
                    told.add(await stack.enter_async_context(serving(foreign(answer))))
                await until(lambda: all(host.life.state is State.READY for host in told.hosts))
                await scenario(told, Client(told, max_body_bytes))
                await told.close()

        asyncio.run(main())

    return run


def error_in(answer: Answer) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(answer.body)["error"]
    return error


def replying(status: int, body: Any = None, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body or {"at": status}, status=status, headers=headers)

    return answer


def test_a_request_goes_there_as_it_is_but_for_the_models_name():
    seen: list[tuple[str, bytes, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, await request.read(), request.headers.get("Authorization")))
        return web.json_response({"ok": True})

    @against(answer)
    async def _(told, client):
        for path in sorted(PATHS):
            found = await client.post(b'{"a": [1.00, 1e400],"model":"m"  ,"b":"\\u00e9"}', path)
            assert (found.status, json.loads(found.body)) == (200, {"ok": True})
        assert [path for path, _, _ in seen] == sorted(PATHS)
        assert {body for _, body, _ in seen} == {b'{"a":[1.00, 1e400],"model":"theirs","b":"\\u00e9"}'}
        assert {key for _, _, key in seen} == {"Bearer k"}
        assert client.asked_here == []


def test_other_models_and_what_is_no_request_are_answered_here():
    @against(replying(200))
    async def _(told, client):
        bodies = [b'{"model": "other"}', b"{", b"[]", b"\xff", b'{"model": 1}', b""]
        for body in bodies:
            assert (await client.post(body)).body == b"here"
        assert (await client.post(path="/v1/other")).body == b"here"
        assert client.asked_here[: len(bodies)] == bodies


def test_a_body_that_is_too_large_is_refused():
    @against(replying(200), max_body_bytes=100)
    async def _(told, client):
        assert (await client.post({"model": "m", "x": "y" * 200})).status == 413


def test_what_would_take_long_to_decode_is_refused_and_what_is_deep_is_left_to_the_api():
    @against(replying(200), max_body_bytes=2 * 1024**2)
    async def _(told, client):
        many = b'{"model": "m", "x": [' + b"[]," * 200_000 + b"[]]}"
        refused = await client.post(many)
        assert (refused.status, client.asked_here) == (413, [])
        assert b"more than 200000 strings, lists and objects" in refused.body
        tokens = b'{"model": "m", "input": [' + b"1," * 300_000 + b"1]}"
        assert (await client.post(tokens, path="/v1/embeddings")).status == 200
        deep = b'{"model": "m", "x": ' + b"[" * 300 + b"]" * 300 + b"}"
        assert (await client.post(deep)).body == b"here"


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_fails_is_passed_over(status):
    @against(replying(status), replying(200, {"from": "the other"}))
    async def _(told, client):
        for _ in range(4):
            assert json.loads((await client.post()).body) == {"from": "the other"}


def test_a_server_that_is_gone_is_passed_over_and_noticed():
    async def vanish(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    @against(vanish, replying(200, {"from": "the other"}))
    async def _(told, client):
        for _ in range(3):
            assert json.loads((await client.post()).body) == {"from": "the other"}


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (429, 429, "queue_full"),
        (500, 502, "backend_failed"),
        (503, 503, "model_unavailable"),
        (529, 503, "model_unavailable"),
        (401, 502, "backend_failed"),
        (404, 502, "backend_failed"),
        (302, 502, "backend_failed"),
    ],
)
def test_errors_of_the_only_server_are_mapped_and_name_it(status, expected, code):
    body = {"error": {"message": "so it is"}}

    @against(replying(status, body, **{"Retry-After": "7", "Location": "http://127.0.0.1:1/"}))
    async def _(told, client):
        answer = await client.post()
        assert (answer.status, error_in(answer)["code"]) == (expected, code)
        assert told.hosts[0].device in error_in(answer)["message"]
        assert "so it is" in error_in(answer)["message"]
        assert answer.headers.get("retry-after") == ("7" if expected in (429, 503) else None)


def test_errors_on_a_path_of_anthropics_api_have_its_form():
    @against(replying(503, {"error": {"message": "so it is"}}))
    async def _(told, client):
        answer = await client.post(path="/v1/messages")
        assert answer.status == 529
        assert (json.loads(answer.body)["type"], error_in(answer)["type"]) == ("error", "overloaded_error")

    @against(streaming([b"event: ping\n\ndata: 1\n\nda"], breaks=True))
    async def _(told, client):
        answer = await client.post({**BODY, "stream": True}, "/v1/messages")
        name, data = answer.body.removesuffix(b"\n\n").split(b"\n\n")[-1].split(b"\n")
        assert name == b"event: error"
        assert json.loads(data.removeprefix(b"data: "))["error"]["type"] == "api_error"


def test_what_anthropics_clients_send_and_expect_reaches_both_sides():
    seen: list[tuple[str | None, ...]] = []
    names = ("anthropic-version", "anthropic-beta", "accept", "x-other")

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(tuple(request.headers.get(name) for name in names))
        response: web.StreamResponse = await streaming([b"event: ping\n\n"])(request)
        return response

    @against(answer)
    async def _(told, client):
        given = dict(zip(names, ("2023-06-01", "a,b", "text/event-stream", "x"), strict=True))
        await client.post(path="/v1/messages", **given)
        assert seen == [("2023-06-01", "a,b", "text/event-stream", None)]
        assert client.exchange.heartbeat is not None
        assert client.exchange.heartbeat() == PING


def test_what_the_client_did_wrong_is_passed_on_as_it_is():
    body = {"error": {"message": "no such role", "param": "messages"}}

    @against(replying(400, body), replying(200))
    async def _(told, client):
        answers = [await client.post() for _ in range(2)]
        assert answers[0].status == 400
        assert json.loads(answers[0].body) == body


def streaming(parts: list[bytes], breaks: bool = False) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.01)
        if breaks:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


def test_a_stream_is_passed_on_in_whole_events():
    parts = [b"data: 1\n", b"\ndata: 2\r\n\r\nda", b"ta: 3\n\ndata: [DONE]", b"\n\n"]

    @against(streaming(parts))
    async def _(told, client):
        answer = await client.post({**BODY, "stream": True})
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.body == b"".join(parts)


def test_a_stream_that_breaks_off_ends_with_an_error_event():
    @against(streaming([b"data: 1\n\nda"], breaks=True), replying(200))
    async def _(told, client):
        answers = [await client.post({**BODY, "stream": True}) for _ in range(2)]
        broken = next(answer for answer in answers if answer.body.startswith(b"data"))
        first, last = broken.body.split(b"\n\n", 1)
        assert first == b"data: 1"
        event = json.loads(last.removeprefix(b"data: "))
        assert event["error"]["code"] == "backend_failed"
        assert b"[DONE]" not in broken.body


def test_a_client_that_leaves_closes_the_connection_to_the_server():
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        begun.set()
        try:
            while True:
                await response.write(b"data: 1\n\n")
                await asyncio.sleep(0.01)
        finally:
            cancelled.set()

    @against(answer)
    async def _(told, client):
        leave = asyncio.Event()
        asking = asyncio.create_task(client.post({**BODY, "stream": True}, leave=leave))
        await begun.wait()
        leave.set()
        await asking
        await asyncio.wait_for(cancelled.wait(), 10)
        assert told.hosts[0].http is not None
        assert told.hosts[0].http.outstanding == 0


def test_a_server_that_takes_too_long_is_a_504():
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    @against(answer)
    async def _(told, client):
        options = told.router.options
        told.router.options = type(options)(options.arena_bytes, 0.2)
        assert (await client.post()).status == 504


def test_more_requests_than_allowed_are_refused():
    held = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await held.wait()
        return web.json_response({})

    @against(answer)
    async def _(told, client):
        asking = [asyncio.create_task(client.post()) for _ in range(10)]
        await until(lambda: told.hosts[0].http and told.hosts[0].http.outstanding == 10)
        assert (await client.post()).status == 429
        held.set()
        assert {(await answer).status for answer in asking} == {200}


@pytest.mark.parametrize("stream", [False, True])
def test_the_tokens_that_an_answer_reports_are_charged_to_whoever_asked(stream):
    usage = {"prompt_tokens": 21, "completion_tokens": 4}
    answering = streaming([b'data: {"usage":' + json.dumps(usage).encode() + b"}\n\n"])

    @against(answering if stream else replying(200, {"usage": usage}))
    async def _(told, client):
        quotas = told.router.quotas
        quotas._clock = lambda: 0.0
        quotas.follow(Settings(tokens_per_minute=1000))
        client.exchange.caller = Caller("alice")
        assert (await client.post({**BODY, "stream": stream})).status == 200
        assert quotas.levels(client.exchange.caller)[0].remaining == 975
        counts = client.exchange.tokens()
        assert (counts.prompt, counts.completion) == (21, 4)
        assert (await client.post({**BODY, "max_tokens": 990})).status == 429
        assert quotas.levels(client.exchange.caller)[0].remaining == 975


def test_a_server_that_fails_costs_no_tokens():
    @against(replying(500), replying(400))
    async def _(told, client):
        quotas = told.router.quotas
        quotas._clock = lambda: 0.0
        quotas.follow(Settings(tokens_per_minute=1000))
        assert (await client.post()).status == 400
        assert quotas.levels(client.exchange.caller)[0].remaining == 1000
