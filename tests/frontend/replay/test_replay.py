"""Repeated requests through the layers. A stand-in answers, and says how often it was asked."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from frontend.caller import Caller
from frontend.config import Settings
from frontend.errors import BadRequest, EngineCrashed, RequestCancelled
from frontend.http import inside
from frontend.http.asgi import WRITER, writer_of
from frontend.http.exchange import Exchange, attach, exchange_of
from frontend.http.in_flight import InFlight
from frontend.http.inside import Answer
from frontend.http.push import body_of
from frontend.http.stack import with_stack
from frontend.limits.quotas import Quotas
from frontend.observability.metrics import Metrics
from frontend.replay.asked import cacheable
from frontend.replay.following import send_recorded
from frontend.replay.layer import Replay, ReplayOptions
from frontend.replay.recording import Reader, Recording
from frontend.replay.shelf import Shelf
from tests.frontend.http.items import Items

CHAT = "/v1/chat/completions"
GREEDY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
ME = Caller("me")


class Answers:
    """`hold` in a body waits to be released, or until its client has left; `fail` is a 500."""

    def __init__(self) -> None:
        self.asked = 0
        self.left = 0
        self.release = asyncio.Event()
        self.mark: object = object()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        body = (await receive())["body"]
        events = b"stream" in body
        kind = b"text/event-stream" if events else b"application/json"
        status = 500 if b"fail" in body else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": self._part("first"), "more_body": True})
        if b"hold" in body:
            leaving, released = (asyncio.ensure_future(wait) for wait in (receive(), self.release.wait()))
            await asyncio.wait([leaving, released], return_when=asyncio.FIRST_COMPLETED)
            released.cancel()
            if leaving.done():
                self.left += 1
                return
            leaving.cancel()
        if b"break" in body:
            exchange_of(scope).fail("engine_crashed")
        await send({"type": "http.response.body", "body": self._part("last")})

    def _part(self, name: str) -> bytes:
        return f"data: {name} {self.asked}\n\n".encode()


class Server:
    def __init__(self, settings: Settings) -> None:
        self.answers = Answers()
        self.now = 0.0
        self.metrics = Metrics()
        self.in_flight = InFlight(lambda: 1000 + self.now)
        quotas = Quotas(lambda: self.now)
        quotas.follow(settings)
        self.app = with_stack(
            self.answers,
            settings,
            self.metrics,
            clock=lambda: self.now,
            model_mark=self._mark,
            quotas=quotas,
            in_flight=self.in_flight,
        )

    def _mark(self, name: str) -> object:
        return self.answers.mark

    async def ask(
        self, fields: Any = GREEDY, path: str = CHAT, caller: Caller = ME, **headers: str
    ) -> Answer:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        return await inside.ask(self.app, caller, path, body, headers=given)

    async def leave_after_first(self, fields: Any, **headers: str) -> bytes:
        """What a client got before it lost its connection."""
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        messages = inside.stream(self.app, ME, CHAT, json.dumps(fields).encode(), headers=given)
        async with aclosing(messages):
            async for message in messages:
                if message["body"]:
                    got: bytes = message["body"]
                    return got
        raise AssertionError("nothing came")


def with_server(scenario: Callable[[Server], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario(Server(Settings(**{"response_cache_bytes": 100_000} | settings)))

    asyncio.run(run())


def result(answer: Answer) -> str | None:
    found = answer.header(b"x-nacelle-cache")
    return None if found is None else found.decode()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_an_equal_request_gets_the_same_bytes(more):
    async def scenario(server: Server) -> None:
        first = await server.ask(GREEDY | more)
        reordered = json.dumps(dict(reversed((GREEDY | more).items())), indent=2).encode()
        second = await server.ask(reordered)
        assert (result(first), result(second)) == ("miss", "hit")
        assert first.body == second.body == b"data: first 1\n\ndata: last 1\n\n"
        assert server.answers.asked == 1
        assert b'nacelle_response_cache_requests_total{result="hit"} 1.0' in server.metrics.render()

    with_server(scenario)


@pytest.mark.parametrize("what", ["other caller", "other rights", "other text", "model changed", "too old"])
def test_what_may_differ_is_computed_again(what):
    async def scenario(server: Server) -> None:
        await server.ask()
        fields, caller = GREEDY, ME
        if what == "other caller":
            caller = Caller("you")
        elif what == "other rights":
            caller = Caller("me", models=("m",))
        elif what == "other text":
            fields = GREEDY | {"max_tokens": 5}
        elif what == "model changed":
            server.answers.mark = object()
        else:
            server.now += 301
        assert result(await server.ask(fields, caller=caller)) == "miss"
        assert server.answers.asked == 2

    with_server(scenario)


def test_a_model_that_is_not_known_is_asked_each_time():
    async def scenario(server: Server) -> None:
        server.answers.mark = None
        assert [result(await server.ask()) for _ in range(2)] == ["bypass"] * 2

    with_server(scenario)


def test_what_would_hold_up_others_while_it_is_decoded_is_not_cached():
    async def scenario(server: Server) -> None:
        for _ in range(2):
            assert result(await server.ask(GREEDY | {"x": [1e300] * 2000})) == "bypass"
        assert server.answers.asked == 2

    with_server(scenario)


def test_cache_control_of_requests_is_honoured():
    async def scenario(server: Server) -> None:
        await server.ask()
        assert result(await server.ask(cache_control="no-store")) == "bypass"
        fresh = await server.ask(cache_control="max-age=0, No-Cache")
        assert result(fresh) == "bypass" and b" 3" in fresh.body
        assert (await server.ask()).body == fresh.body

    with_server(scenario)


@pytest.mark.parametrize("word", ["fail", "break"])
def test_failures_are_not_kept(word):
    async def scenario(server: Server) -> None:
        assert [result(await server.ask(GREEDY | {"x": word})) for _ in range(2)] == ["miss"] * 2

    with_server(scenario)


def test_twins_share_one_generation_also_when_the_first_leaves():
    async def scenario(server: Server) -> None:
        fields = GREEDY | {"x": "hold"}
        first = asyncio.ensure_future(server.ask(fields))
        await until(lambda: server.answers.asked == 1)
        twins = [asyncio.ensure_future(server.ask(fields)) for _ in range(2)]
        await until(lambda: b'"coalesced"} 2.0' in server.metrics.render())
        first.cancel()
        await asyncio.wait([first])
        server.answers.release.set()
        answers = [await twin for twin in twins]
        assert {answer.body for answer in answers} == {b"data: first 1\n\ndata: last 1\n\n"}
        assert [result(answer) for answer in answers] == ["coalesced"] * 2
        assert (server.answers.asked, server.answers.left) == (1, 0)

    with_server(scenario)


def test_without_readers_an_answer_is_cancelled_and_not_joined():
    async def scenario(server: Server) -> None:
        fields = GREEDY | {"x": "hold"}
        await server.leave_after_first(fields)
        server.answers.release.set()
        assert result(await server.ask(fields)) == "miss"
        assert server.answers.left == 1

    with_server(scenario)


def test_the_cache_is_off_by_default():
    async def scenario(server: Server) -> None:
        assert [result(await server.ask()) for _ in range(2)] == [None, None]
        assert server.answers.asked == 2

    with_server(scenario, response_cache_bytes=Settings().response_cache_bytes)


SAMPLED = GREEDY | {"temperature": 1, "x": "hold", "stream": True}


def test_a_retry_joins_the_running_generation():
    async def scenario(server: Server) -> None:
        assert await server.leave_after_first(SAMPLED, idempotency_key="k") == b"id: 1\ndata: first 1\n\n"
        again = asyncio.ensure_future(server.ask(SAMPLED, idempotency_key="k"))
        server.answers.release.set()
        whole = b"id: 1\ndata: first 1\n\nid: 2\ndata: last 1\n\n"
        answer = await again
        assert answer.body == whole and answer.header(b"idempotency-replayed") == b"true"
        late = await server.ask(SAMPLED, idempotency_key="k")
        assert late.body == whole
        rest = await server.ask(SAMPLED, idempotency_key="k", last_event_id="1")
        assert rest.body == b"id: 2\ndata: last 1\n\n"
        assert (server.answers.asked, server.answers.left) == (1, 0)

    with_server(scenario, response_cache_bytes=0)


def test_after_the_grace_time_the_generation_ends():
    async def scenario(server: Server) -> None:
        await server.leave_after_first(SAMPLED, idempotency_key="k")
        await until(lambda: server.answers.left == 1)

    with_server(scenario, retry_grace_seconds=0.01)


def test_the_grace_time_begins_anew_when_a_retry_leaves_too():
    async def scenario(server: Server) -> None:
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []
        call_later = loop.call_later

        def noted(seconds: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            timer = call_later(seconds, *rest, **more)
            if seconds == 77:
                timers.append(timer)
            return timer

        loop.call_later = noted  # type: ignore[method-assign, assignment]
        for _ in range(2):
            await server.leave_after_first(GREEDY | {"stream": True, "hold": 1}, idempotency_key="k")
        first, second = timers
        assert first.cancelled() and not second.cancelled()
        server.answers.release.set()
        await until(second.cancelled)  # an answer that has ended is not held by it
        assert (server.answers.asked, server.answers.left) == (1, 0)

    with_server(scenario, retry_grace_seconds=77)


def test_what_goes_on_without_its_client_is_in_flight_and_can_be_cancelled():
    async def scenario(server: Server) -> None:
        server.now = 5.0
        held = GREEDY | {"stream": True, "hold": 1}
        ended: list[Exchange] = []
        server.in_flight.on_end.append(lambda exchange, *_: ended.append(exchange))
        await server.leave_after_first(held, idempotency_key="k", x_request_id="mine")
        server.now = 8.0
        [entry] = server.in_flight
        assert (entry.exchange.request_id, entry.began_at) == ("mine", 1005.0)
        again = asyncio.ensure_future(server.ask(held, idempotency_key="k", x_request_id="other"))
        await until(lambda: [entry.exchange.request_id for entry in server.in_flight] == ["other"])
        again.cancel()
        await until(lambda: [entry.exchange.request_id for entry in server.in_flight] == ["mine"])
        assert server.in_flight.cancel("mine", RequestCancelled("by an operator"))
        await until(lambda: not list(server.in_flight))
        assert server.answers.left == 1
        assert [exchange.request_id for exchange in ended] == ["mine", "other"], "each request counts once"

    with_server(scenario)


def test_an_event_that_an_answer_has_not_reached_is_refused_even_before_it_begins():
    async def scenario() -> None:
        made = Recording(Exchange("", 0.0), numbers_events=True)
        sending = asyncio.ensure_future(send_recorded(made, {}, made.send, [], after=1))
        await asyncio.sleep(0)
        headers = [(b"content-type", b"text/event-stream")]
        await made.send({"type": "http.response.start", "status": 200, "headers": headers})
        with pytest.raises(BadRequest, match="Last-Event-ID"):
            await sending

    asyncio.run(scenario())


def test_a_key_is_of_one_caller_and_one_body():
    async def scenario(server: Server) -> None:
        await server.ask(idempotency_key="k")
        other = await server.ask(GREEDY | {"seed": 1}, idempotency_key="k")
        assert other.status == 422
        assert json.loads(other.body)["error"]["code"] == "idempotency_key_reused"
        assert (
            await server.ask(GREEDY | {"seed": 1}, idempotency_key="k", caller=Caller("you"))
        ).status == 200
        server.now += 301
        assert (await server.ask(GREEDY | {"seed": 1}, idempotency_key="k")).status == 200

    with_server(scenario)


def test_a_key_that_lost_a_model_does_not_get_its_answers():
    async def scenario(server: Server) -> None:
        await server.ask(idempotency_key="a")
        await server.ask(idempotency_key="a", caller=Caller("me", models=("other",)))
        assert server.answers.asked == 2

    with_server(scenario)


def test_an_answer_that_is_no_stream_is_sent_whole_and_one_that_is_has_no_events_beyond_its_last():
    async def scenario(server: Server) -> None:
        whole = await server.ask(idempotency_key="a")
        assert (await server.ask(idempotency_key="a", last_event_id="1")).body == whole.body
        await server.ask(GREEDY | {"stream": True}, idempotency_key="b")
        last = await server.ask(GREEDY | {"stream": True}, idempotency_key="b", last_event_id="2")
        assert (last.status, last.body) == (200, b"")
        beyond = await server.ask(GREEDY | {"stream": True}, idempotency_key="b", last_event_id="3")
        assert beyond.status == 400

    with_server(scenario)


def test_a_caller_has_no_more_answers_without_readers_than_it_may_have_at_a_time():
    async def scenario(server: Server) -> None:
        held = GREEDY | {"stream": True, "user": "hold"}
        for number in range(4):
            await server.leave_after_first(held, idempotency_key=str(number))
        await until(lambda: server.answers.left == 2)
        assert server.answers.asked == 4
        server.answers.release.set()
        kept = await server.ask(held, idempotency_key="3")
        assert kept.header(b"idempotency-replayed") == b"true"

    with_server(scenario, max_concurrent=2)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"idempotency_key": ""}, 400),
        ({"idempotency_key": "k" * 256}, 400),
        ({"idempotency_key": "k", "last_event_id": "x"}, 400),
        ({"idempotency_key": "k", "last_event_id": "3"}, 409),
    ],
)
def test_headers_that_make_no_sense_are_refused(headers, status):
    async def scenario(server: Server) -> None:
        assert (await server.ask(**headers)).status == status
        assert server.answers.asked == 0

    with_server(scenario)


def test_a_failed_attempt_is_made_again():
    async def scenario(server: Server) -> None:
        for _ in range(2):
            assert (await server.ask(GREEDY | {"x": "fail"}, idempotency_key="k")).status == 500
        assert server.answers.asked == 2

    with_server(scenario)


def test_a_body_that_is_too_large_passes():
    async def scenario(server: Server) -> None:
        fields = GREEDY | {"x": "y" * 5000}
        assert result(await server.ask(fields)) is None
        assert server.answers.asked == 1

    with_server(scenario, max_body_bytes=4096)


@pytest.mark.parametrize(
    ("path", "fields", "is_cacheable"),
    [
        (CHAT, {"temperature": 0}, True),
        (CHAT, {"temperature": 0.5, "seed": 7}, True),
        (CHAT, {"temperature": 0.5}, False),
        (CHAT, {}, False),
        (CHAT, {"seed": True}, False),
        (CHAT, {"temperature": False}, False),
        (CHAT, {"temperature": 0, "session_id": "s"}, False),
        (CHAT, {"temperature": 0, "messages": [{"image_url": {"url": "https://x/y.png"}}]}, False),
        ("/v1/responses", {"temperature": 0}, False),
        ("/v1/responses", {"temperature": 0, "store": False}, True),
        ("/v1/responses", {"temperature": 0, "store": False, "previous_response_id": "r"}, False),
        ("/v1/embeddings", {"input": "x"}, True),
        ("/v1/rerank", {"query": "x"}, True),
        ("/v1/audio/speech", {"temperature": 0}, False),
    ],
)
def test_which_requests_have_one_answer(path, fields, is_cacheable):
    body = json.dumps({"model": "m"} | fields).encode()
    assert (cacheable(path, body) is not None) is is_cacheable


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"temperature":0}', b'{"model":5,"temperature":0}'])
def test_bodies_that_are_wrong_are_not_cached(body):
    assert cacheable(CHAT, body) is None


class Writer:
    """What a server offers for one response."""

    def __init__(self) -> None:
        self.paused = self.gone = False
        self.written = 0
        self.writes: list[bytes] = []
        self.resume: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        assert not self.paused
        self.writes.append(data)
        self.written += len(data)

    def cut_off(self) -> None:
        self.gone = True

    def notify(self, callback: Callable[[], None] | None) -> None:
        self.resume = callback


class Pushed:
    """One keyed request to a server that offers a writer. The answer is `items`; an error cuts it off."""

    def __init__(self) -> None:
        self.items = Items()
        self.writer = Writer()
        self.sent: list[bytes] = []  # bodies that went the slow way
        self.gone = asyncio.Event()
        self.exchange = Exchange("req", 0.0)
        self.app = Replay(self._answer, ReplayOptions(), lambda _: None, Metrics(), lambda: 0.0)
        keyed = [(b"idempotency-key", b"k")]
        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": keyed}
        self.scope = attach(scope | {"extensions": {WRITER: self.writer}}, self.exchange)
        self._body = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        writer = writer_of(scope)
        assert writer is not None
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for _ in body_of(self.items, b"".join, writer):
                raise AssertionError
        except EngineCrashed:
            writer.cut_off()
        await send({"type": "http.response.body", "body": b""})

    async def _receive(self) -> Any:
        if self._body:
            return self._body.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message.get("body"):
            self.sent.append(message["body"])

    async def begin(self) -> "asyncio.Task[None]":
        """The request, whose client has got the start of the answer."""
        task = asyncio.ensure_future(self.app(self.scope, self._receive, self._send))
        await until(lambda: self.writer.resume is not None)
        await asyncio.sleep(0)
        return task


def test_what_a_keyed_stream_gets_is_written_in_the_turn_in_which_it_arrives():
    async def scenario() -> None:
        pushed = Pushed()
        task = await pushed.begin()
        pushed.items.put(b"data: one\n\n")
        pushed.items.put(b"data: two\n\ndata: three\n\n")
        await asyncio.sleep(0)
        assert pushed.writer.writes == [b"id: 1\ndata: one\n\nid: 2\ndata: two\n\nid: 3\ndata: three\n\n"]
        pushed.items.put(b"data: four\n\n")
        await asyncio.sleep(0)
        assert pushed.writer.writes[1:] == [b"id: 4\ndata: four\n\n"]
        pushed.items.end()
        await task
        assert pushed.sent == [] and pushed.writer.resume is None

    asyncio.run(scenario())


def test_a_keyed_streams_slow_client_falls_behind_and_catches_up():
    async def scenario() -> None:
        pushed = Pushed()
        task = await pushed.begin()
        pushed.writer.paused = True
        for number in range(3):
            pushed.items.put(b"data: %d\n\n" % number)
            await asyncio.sleep(0)
        assert pushed.writer.writes == []
        pushed.writer.paused = False
        assert pushed.writer.resume is not None
        pushed.writer.resume()
        pushed.items.end()
        await task
        assert b"".join(pushed.writer.writes) == b"id: 1\ndata: 0\n\nid: 2\ndata: 1\n\nid: 3\ndata: 2\n\n"

    asyncio.run(scenario())


def test_a_keyed_answer_that_its_application_cuts_off_is_cut_off():
    async def scenario() -> None:
        pushed = Pushed()
        task = await pushed.begin()
        pushed.items.put(b"data: one\n\n")
        pushed.items.fail(EngineCrashed("it died"))
        await task
        assert pushed.writer.writes == [b"id: 1\ndata: one\n\n"] and pushed.writer.gone

    asyncio.run(scenario())


def test_a_keyed_answer_goes_on_when_the_writer_finds_its_client_gone():
    async def scenario() -> None:
        pushed = Pushed()
        task = await pushed.begin()
        pushed.writer.gone = True
        assert pushed.writer.resume is not None
        pushed.writer.resume()
        await task
        assert pushed.exchange.failure == "client_gone"
        pushed.items.put(b"data: one\n\n")
        pushed.items.end()
        await until(lambda: pushed.items.finished)
        assert not pushed.sent

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"data: a\n\n", [b"id: 1\ndata: a\n\n"]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [b"id: 1\nevent: x\ndata: a\n\n", b"id: 2\ndata: b\n\n"]),
        (b"data: a\n\n\n\ndata: b", [b"id: 1\ndata: a\n\n", b"id: 2\ndata: b\n\n"]),
        (b"data: a\n\n\ndata: b\n\n", [b"id: 1\ndata: a\n\n", b"id: 2\n\ndata: b\n\n"]),
        (b"data: a\n", [b"id: 1\ndata: a\n\n\n"]),
        (b"\n\n", []),
        (b"", []),
    ],
)
def test_each_event_gets_its_number(data, parts):
    async def scenario() -> None:
        made = Recording(Exchange("", 0.0), numbers_events=True)
        headers = [(b"content-type", b"text/event-stream")]
        await made.send({"type": "http.response.start", "status": 200, "headers": headers})
        made.write(data)
        assert (b"".join(made.parts), made.size) == (b"".join(parts), sum(map(len, parts)))
        assert made.may_follow(len(parts))
        assert not made.may_follow(len(parts) + 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("after", range(6))
def test_a_reader_begins_after_any_event(after):
    async def scenario() -> None:
        made = Recording(Exchange("", 0.0), numbers_events=True)
        headers = [(b"content-type", b"text/event-stream")]
        await made.send({"type": "http.response.start", "status": 200, "headers": headers})
        for data in (b"data: 1\n\n", b"data: 2\n\nevent: x\ndata: 3\n\ndata: 4\n\n", b"data: 5\n\n"):
            made.write(data)
        reader = Reader(made, after, None)
        await made.send({"type": "http.response.body", "body": b"data: 6\n\n"})
        whole = b"".join(made.parts)
        assert b"".join(reader.take()) == whole[whole.index(b"id: %d\n" % (after + 1)) :]
        assert reader.finished

    asyncio.run(scenario())


def test_events_have_numbers_beyond_the_lines_that_are_made_once():
    async def scenario() -> None:
        made = Recording(Exchange("", 0.0), numbers_events=True)
        headers = [(b"content-type", b"text/event-stream")]
        await made.send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(5000):
            made.write(b"data: a\n\n")
        assert b"".join(made.parts) == b"".join(b"id: %d\ndata: a\n\n" % number for number in range(1, 5001))

    asyncio.run(scenario())


def test_nothing_can_be_written_to_a_recording_outside_its_body():
    async def scenario() -> None:
        made = Recording(Exchange("", 0.0))
        with pytest.raises(RuntimeError):
            made.write(b"x")
        await made.send({"type": "http.response.start", "status": 200, "headers": []})
        made.write(b"x")
        await made.send({"type": "http.response.body", "body": b"y"})
        with pytest.raises(RuntimeError):
            made.write(b"x")
        assert (made.parts, made.written) == ([b"x", b"y"], 2)

    asyncio.run(scenario())


def recording(size: int) -> Recording:
    async def make() -> Recording:
        made = Recording(Exchange("", 0.0))
        await made.send({"type": "http.response.start", "status": 200, "headers": []})
        await made.send({"type": "http.response.body", "body": b"x" * size})
        made.end(None)
        return made

    return asyncio.run(make())


def test_a_shelf_drops_what_is_old_however_lately_it_was_used_and_looks_at_no_other():
    now = 0.0
    looked = 0

    def clock() -> float:
        nonlocal looked
        looked += 1
        return now

    shelf = Shelf(max_bytes=10**6, max_entries=1000, kept_seconds=10, clock=clock)
    for number in range(200):
        made = recording(1)
        shelf.put(number, made, None)
        shelf.end(number, made)
        now += 0.01
    assert looked < 600
    assert shelf.find(0) is not None
    now = 10.5  # those before 0.5 are old
    last = recording(1)
    shelf.put("last", last, None)
    shelf.end("last", last)
    assert (shelf.size, shelf.find(0), shelf.find(49)) == (151, None, None)
    assert shelf.find(50) is not None


def test_a_shelf_is_bounded_by_bytes_and_number():
    shelf = Shelf(max_bytes=400, max_entries=3, kept_seconds=10, clock=lambda: 0.0)
    for name, size in [("a", 100), ("b", 100), ("large", 101), ("c", 100), ("d", 90)]:
        made = recording(size)
        shelf.put(name, made, None)
        shelf.end(name, made)
    assert [name for name in ("a", "b", "large", "c", "d") if shelf.find(name)] == ["b", "c", "d"]
    assert shelf.size == 290
