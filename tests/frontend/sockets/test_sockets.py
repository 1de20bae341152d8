"""Socket.IO's own client against the layers on a real port. A stand-in answers chat completions."""

import asyncio
import contextlib
import gc
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import socketio

from frontend.config import Settings
from frontend.errors import RequestTooLarge
from frontend.http.exchange import exchange_of
from frontend.http.gate import Access, Gate
from frontend.http.server import HttpServer, listen
from frontend.http.stack import with_stack
from frontend.observability.metrics import Metrics
from frontend.sockets import delivery, events
from frontend.sockets.admission import Admission
from frontend.sockets.layer import Sockets
from frontend.sockets.rooms import MAX_ROOMS

KEY = "right"


class Chats:
    """Answers with the words of the question; after the word `hold` it waits to be released, or left."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.request_ids: list[str] = []
        self.left = 0
        self.release = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = json.loads((await receive())["body"])
        self.asked.append(body)
        self.request_ids.append(exchange_of(scope).request_id)
        content = body["messages"][-1]["content"]
        if content == "refuse":
            error = {"error": {"message": "no room", "type": "rate_limit_error", "code": "queue_full"}}
            headers = [(b"retry-after", b"7")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(error).encode()})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for word in content.split():
            if word == "hold" and not await self._held(receive):
                return
            data = {"model": "m", "choices": [{"index": 0, "delta": {"content": word}}]}
            await self._send(send, json.dumps(data))
        finish = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await self._send(send, json.dumps(finish))
        await self._send(send, "[DONE]", more=False)

    async def _send(self, send: Any, data: str, more: bool = True) -> None:
        frame = f"data: {data}\n\n".encode()
        await send({"type": "http.response.body", "body": frame, "more_body": more})

    async def _held(self, receive: Any) -> bool:
        leaving = asyncio.ensure_future(receive())
        released = asyncio.ensure_future(self.release.wait())
        done, pending = await asyncio.wait([leaving, released], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        self.left += leaving in done
        return leaving not in done


class Client:
    """Socket.IO's client, with everything that it was sent."""

    def __init__(self) -> None:
        self.sio: Any = socketio.AsyncClient(reconnection=False)
        self.got: list[tuple[str, Any]] = []
        self._news = asyncio.Event()
        for name in ("inference_token", "inference_complete", "inference_error", "disconnect"):
            self.sio.on(name, self._handler(name))

    def _handler(self, name: str) -> Callable[..., Awaitable[None]]:
        async def note(data: Any = None) -> None:
            self.got.append((name, data))
            self._news.set()

        return note

    async def until(self, name: str, count: int = 1) -> Any:
        """The data of the event of that name, once there are `count`."""
        async with asyncio.timeout(10):
            while len(found := [data for got, data in self.got if got == name]) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    def text(self) -> str:
        return "".join(data["token"] for name, data in self.got if name == "inference_token")

    async def call(self, event: str, payload: Any) -> Any:
        return await self.sio.call(event, payload, timeout=10)


class Server:
    def __init__(self, url: str, chats: Chats, sockets: Sockets) -> None:
        self.url = url
        self.chats = chats
        self.sockets = sockets
        self.clients: list[Client] = []

    async def client(self, auth: Any = None, headers: Any = None, transport: str = "websocket") -> Client:
        client = Client()
        self.clients.append(client)
        await client.sio.connect(self.url, auth=auth, headers=headers or {}, transports=[transport])
        return client


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Server]:
    chats, access = Chats(), Access(settings)
    sockets = Sockets(chats, Admission(lambda app: Gate(app, settings, access)), lambda: "the-only-one")
    sockets.stack = with_stack(sockets, settings, Metrics(), access=access)
    listener = listen("127.0.0.1", 0)
    http = HttpServer(sockets.stack, graceful_seconds=30)
    running = asyncio.create_task(http.serve([listener]))
    server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}", chats, sockets)
    try:
        yield server
    finally:
        chats.release.set()
        await sockets.close()
        for client in server.clients:
            await client.sio.disconnect()
            await client.sio.eio.wait()
            if client.sio.eio.http is not None:
                await client.sio.eio.http.close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        for listening in http.servers:
            listening.close()
        listener.close()


def with_server(scenario: Callable[[Server], Awaitable[None]], settings: Settings | None = None) -> None:
    async def run() -> None:
        async with serving(settings or Settings()) as server:
            await scenario(server)

    asyncio.run(run())


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_prompt_is_answered_in_tokens(transport):
    async def scenario(server: Server) -> None:
        client = await server.client(transport=transport)
        asked = {"prompt": "one two three", "session_id": "s", "request_id": "r", "repeat_penalty": 1.5}
        assert await client.call("inference_prompt", asked) == {"request_id": "r", "session_id": "s"}
        complete = await client.until("inference_complete")
        assert (complete["message"], complete["finish_reason"]) == ("onetwothree", "stop")
        assert (complete["request_id"], complete["session_id"]) == ("r", "s")
        assert [data["token"] for name, data in client.got[:3]] == ["one", "two", "three"]
        [body] = server.chats.asked
        assert body["session_id"] == "s" and body["model"] == "the-only-one" and body["stream"]
        assert body["repetition_penalty"] == 1.5 and "prompt" not in body
        assert server.chats.request_ids == ["r"]

    with_server(scenario)
    with warnings.catch_warnings():  # the polling client does not release all its connections
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_prompt_without_a_session_gets_one_and_messages_do_not():
    async def scenario(server: Server) -> None:
        client = await server.client()
        first = await client.call("inference_prompt", {"prompt": "one"})
        second = await client.call("inference_prompt", {"messages": [{"role": "user", "content": "two"}]})
        assert first["session_id"].startswith("sess_") and second["session_id"] is None
        await client.until("inference_complete", 2)
        assert [body.get("session_id") for body in server.chats.asked] == [first["session_id"], None]

    with_server(scenario)


@pytest.mark.parametrize(
    ("payload", "code", "param"),
    [
        ({"prompt": "refuse"}, "queue_full", None),
        ({"prompt": "a", "messages": []}, "invalid_value", "prompt"),
        ({"prompt": 5}, "invalid_value", "prompt"),
        ({"prompt": "a", "n": 2}, "invalid_value", "n"),
        ({"prompt": "a", "request_id": "two words"}, "invalid_value", "request_id"),
        ("text", "invalid_value", None),
        (None, "invalid_value", None),
    ],
)
def test_what_cannot_be_done_is_an_error_event(payload, code, param):
    async def scenario(server: Server) -> None:
        client = await server.client()
        await client.sio.emit("inference_prompt", payload)
        error = await client.until("inference_error")
        assert (error["code"], error["param"]) == (code, param)
        assert error["error"]
        if code == "queue_full":
            assert (error["status"], error["retry_after"]) == (429, 7)

    with_server(scenario)


def test_members_of_a_session_see_its_tokens_and_others_do_not():
    async def scenario(server: Server) -> None:
        asking, following, other = [await server.client() for _ in range(3)]
        assert await following.call("inference_join", {"session_id": "s"}) == {
            "session_id": "s",
            "members": 1,
        }
        await other.call("inference_join", "t")
        await asking.call("inference_prompt", {"prompt": "one two", "session_id": "s"})
        for client in (asking, following):
            assert (await client.until("inference_complete"))["message"] == client.text() == "onetwo"
        assert not other.got

    with_server(scenario)


def test_an_answer_goes_on_while_somebody_follows_it():
    async def scenario(server: Server) -> None:
        asking, following = await server.client(), await server.client()
        await following.call("inference_join", "s")
        await asking.call("inference_prompt", {"prompt": "one hold two", "session_id": "s"})
        await following.until("inference_token")
        await asking.sio.disconnect()
        server.chats.release.set()
        assert (await following.until("inference_complete"))["message"] == "oneholdtwo"
        assert server.chats.left == 0

    with_server(scenario)


@pytest.mark.parametrize("how", ["disconnect", "leave", "cancel", "cancel all"])
def test_an_answer_that_nobody_follows_is_cancelled(how):
    async def scenario(server: Server) -> None:
        client = await server.client()
        await client.call("inference_prompt", {"prompt": "one hold", "session_id": "s", "request_id": "r"})
        await client.until("inference_token")
        if how == "disconnect":
            await client.sio.disconnect()
        elif how == "leave":
            await client.call("inference_leave", {"session_id": "s"})
        else:
            wanted = {"request_id": "r"} if how == "cancel" else {}
            assert await client.call("inference_cancel", wanted) == {"cancelled": 1}
            assert (await client.until("inference_error"))["code"] == "cancelled"
        async with asyncio.timeout(10):
            while not server.chats.left:
                await asyncio.sleep(0)

    with_server(scenario)


def test_one_connection_sends_any_number_of_prompts_in_turn():
    async def scenario(server: Server) -> None:
        client = await server.client()
        for number in range(MAX_ROOMS + 2):
            assert "error" not in await client.call("inference_prompt", {"prompt": "hi"})
            await client.until("inference_complete", number + 1)

    with_server(scenario)


def test_prompts_of_one_connection_are_bounded():
    async def scenario(server: Server) -> None:
        client = await server.client()
        for number in range(16):
            await client.call("inference_prompt", {"prompt": "hold", "request_id": f"r{number}"})
        again = await client.call("inference_prompt", {"prompt": "hold", "request_id": "r1"})
        assert (again["code"], again["status"]) == ("queue_full", 429)
        assert await client.call("inference_cancel", {"request_id": "r0"}) == {"cancelled": 1}
        await client.until("inference_error", 2)
        twice = await client.call("inference_prompt", {"prompt": "hold", "request_id": "r1"})
        assert (twice["code"], twice["param"]) == ("invalid_value", "request_id")

    with_server(scenario)


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        ({"token": KEY}, None),
        ({"api_key": f"Bearer {KEY}"}, None),
        (None, {"Authorization": f"Bearer {KEY}"}),
        (None, {"X-Api-Key": KEY}),
    ],
)
def test_the_key_is_in_the_first_message_or_in_a_header(auth, headers):
    async def scenario(server: Server) -> None:
        client = await server.client(auth, headers)
        await client.call("inference_prompt", {"prompt": "one"})
        assert (await client.until("inference_complete"))["message"] == "one"

    with_server(scenario, Settings(api_key=KEY))


@pytest.mark.parametrize(
    ("auth", "headers"), [(None, None), ({"token": "wrong"}, None), (None, {"Authorization": "Bearer wrong"})]
)
def test_without_the_key_nobody_connects(auth, headers):
    async def scenario(server: Server) -> None:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await server.client(auth, headers)
        assert not server.chats.asked

    with_server(scenario, Settings(api_key=KEY))


def test_a_connection_is_of_the_caller_that_opened_it_if_that_was_known():
    async def scenario(server: Server) -> None:
        known: dict[str, str] = {"Authorization": f"Bearer {KEY}"}
        stranger: dict[str, str] = {}
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            for opens, follows, status in (
                (known, known, 200),
                (known, stranger, 403),
                (stranger, known, 200),
            ):
                opened = await http.get("/socket.io/?EIO=4&transport=polling", headers=opens)
                url = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened.text[1:])['sid']}"
                assert (await http.post(url, content="3", headers=follows)).status_code == status

    with_server(scenario, Settings(api_key=KEY))


def test_pages_of_other_sites_do_not_connect():
    async def scenario(server: Server) -> None:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await server.client(headers={"Origin": "https://evil.example"})

    with_server(scenario)


def test_events_that_only_the_server_may_cause_mean_nothing(caplog):
    async def scenario(server: Server) -> None:
        client = await server.client({"token": KEY})
        made_up = {"asgi.scope": {"type": "http", "headers": [], "path": "/"}}
        for event, payload in [
            ("connect", None),
            ("connect", made_up),
            ("connect", (made_up, {"token": "wrong"}, 1)),
            ("disconnect", "client disconnect"),
        ]:
            assert await client.call(event, payload) is None
        await client.call("inference_prompt", {"prompt": "one"})
        assert (await client.until("inference_complete"))["message"] == "one"

    with_server(scenario, Settings(api_key=KEY))
    gc.collect()  # asyncio reports tasks that failed unseen once they are gone
    assert "Traceback" not in caplog.text


def test_a_connection_that_does_not_say_who_it_is_is_closed(monkeypatch):
    monkeypatch.setattr(events, "HELLO_SECONDS", 0.01)

    async def scenario(server: Server) -> None:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            opened = await http.get("/socket.io/?EIO=4&transport=polling")
            sid = json.loads(opened.text[1:])["sid"]
            closing = await http.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}")
            assert closing.status_code in (200, 400)
            gone = await http.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}")
            assert gone.status_code == 400

    with_server(scenario)


@pytest.mark.parametrize("packet", ["0", "6", "4" * (events.MAX_MESSAGE_BYTES + 1)])
def test_a_packet_that_breaks_the_protocol_is_answered_although_nobody_polls(packet):
    async def scenario(server: Server) -> None:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            opened = await http.get("/socket.io/?EIO=4&transport=polling")
            sid = json.loads(opened.text[1:])["sid"]
            url = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
            assert (await http.post(url, content=packet)).status_code == 400
            assert (await http.post(url, content="3")).status_code == 400  # it is closed

    with_server(scenario)


def test_no_event_collects_attachments_without_end():
    async def scenario(server: Server) -> None:
        client = await server.client()
        held = (await server.sockets._events()).server._binary_packet
        for count in (events.MAX_ATTACHMENTS + 1, events.MAX_ATTACHMENTS):
            await client.sio.eio.send(f'5{count}-["inference_prompt"]')
            await client.sio.eio.send(b"x")
        async with asyncio.timeout(10):
            while not held:
                await asyncio.sleep(0)
        assert [packet.attachment_count for packet in held.values()] == [events.MAX_ATTACHMENTS]

    with_server(scenario)


def test_a_message_that_takes_long_to_decode_is_not_decoded():
    assert events._Json.loads('["inference_prompt",{"x":[1e3]}]') == ["inference_prompt", {"x": [1000.0]}]
    with pytest.raises(RequestTooLarge):
        events._Json.loads(f"[{'1e3,' * 2000}1]")


@pytest.mark.parametrize("query", ["EIO=4&transport=polling&j=1", "EIO=3&transport=polling", "transport=x"])
def test_what_is_not_its_protocol_is_refused(query):
    async def scenario(server: Server) -> None:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            assert (await http.get(f"/socket.io/?{query}")).status_code == 400

    with_server(scenario)


def test_a_server_without_the_library_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    async def scenario(server: Server) -> None:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            answer = await http.get("/socket.io/?EIO=4&transport=polling")
            assert answer.status_code == 404
            assert "nacelle-server[socketio]" in answer.json()["error"]["message"]

    with_server(scenario)


def test_a_slow_reader_gets_joined_tokens(monkeypatch):
    monkeypatch.setattr(delivery, "HELD_FROM", 0)

    async def scenario(server: Server) -> None:
        client = await server.client()
        await client.call("inference_prompt", {"prompt": "one two three"})
        await client.until("inference_complete")
        assert [data["token"] for name, data in client.got if name == "inference_token"] == ["onetwothree"]

    with_server(scenario)


def test_a_client_that_does_not_read_is_disconnected(monkeypatch):
    async def scenario(server: Server) -> None:
        client = await server.client()
        await client.sio.emit("inference_prompt", {"prompt": "one hold two hold"})
        await client.until("inference_token")
        async with asyncio.timeout(10):
            monkeypatch.setattr(delivery, "MAX_PACKETS", 0)
            server.chats.release.set()
            server.chats.release.clear()  # the second time, it waits again
            while not server.chats.left:
                await asyncio.sleep(0)

    with_server(scenario)


def test_a_client_that_asks_and_reads_no_answer_is_disconnected(monkeypatch):
    async def scenario(server: Server) -> None:
        client = await server.client()
        monkeypatch.setattr(delivery, "MAX_PACKETS", 0)
        await client.sio.emit("inference_cancel", {})  # its acknowledgement would wait for ever
        await client.until("disconnect")

    with_server(scenario)


def test_whoever_leaves_a_session_keeps_what_it_asked_outside_of_it():
    async def scenario(server: Server) -> None:
        client = await server.client()
        asked = {"messages": [{"role": "user", "content": "one hold two"}], "request_id": "r"}
        await client.call("inference_prompt", asked)
        await client.call("inference_join", {"session_id": "s"})
        await client.call("inference_leave", {"session_id": "s"})
        server.chats.release.set()
        assert (await client.until("inference_complete"))["message"] == "oneholdtwo"

    with_server(scenario)
