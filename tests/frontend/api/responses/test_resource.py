"""The Responses API over ASGI, with turns that are told what to say and real stores."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import falcon.asgi
import falcon.testing
import msgspec
import pytest

from frontend.access.sight import asking, sight
from frontend.api import errors
from frontend.api.images import Images
from frontend.api.responses import background, compacting, input_tokens, resource
from frontend.api.responses.background import Background
from frontend.api.responses.records import Record, Records, as_of, item_ids, response_id_of
from frontend.api.responses.request import response_of
from frontend.api.responses.resource import new_id
from frontend.api.schema.responses import ResponsesRequest
from frontend.api.turns import Finished, StartedOver, TurnUsage
from frontend.caller import ANYBODY, Caller
from frontend.config import Settings
from frontend.errors import (
    BadRequest,
    ClientGone,
    EngineCrashed,
    HostRefused,
    RequestTooLarge,
    StoreUnavailable,
)
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning
from frontend.routing.router import Router, RouterOptions
from frontend.sessions.limits import StoreLimits
from frontend.sessions.memory import MemoryStore
from frontend.sessions.store import open_store
from ipc.errors import ErrorCode, RequestError
from tests.frontend.api.openai_types import accumulated, checked_event, checked_response

STOP = Finished("stop")
LIMITS = StoreLimits(ttl_seconds=60, max_entries=100, max_bytes=1_000_000)


class FakeTurn:
    """Says what it is told: events, exceptions to raise, and asyncio.Events to wait for."""

    usage = TurnUsage(10, 5)

    def __init__(self, script):
        self._script = list(script)
        self._callback = lambda: None
        self._waiting = None
        self.closed = False

    async def events(self):
        while self._script:
            match self._script.pop(0):
                case asyncio.Event() as gate:
                    await gate.wait()
                case Exception() as error:
                    raise error
                case event:
                    return [(0, event)]
        return []

    def take(self):
        match self._script[0] if self._script else None:
            case None:
                return []
            case asyncio.Event() as gate:
                if gate.is_set():
                    del self._script[0]
                    return self.take()
                if self._waiting is None or self._waiting.done():
                    self._waiting = asyncio.create_task(self._wait(gate))
                return []
            case Exception() as error:
                del self._script[0]
                raise error
            case event:
                del self._script[0]
                return [(0, event)]

    async def _wait(self, gate):
        await gate.wait()
        self._callback()

    @property
    def finished(self):
        return not self._script

    def listen(self, callback):
        self._callback = callback or (lambda: None)

    def call_id(self, choice, call):
        return f"call_{choice}_{call}"

    def close(self):
        self.closed = True


class Server:
    """The resources over a store; the next turns say what `scripts` holds."""

    def __init__(self, store=None, seconds=60.0):
        self.store = store or open_store("memory:", LIMITS)
        self.records = Records(self.store)
        self.scripts = []
        self.specs = []
        self.turns = []
        self.background = Background(self._begin, self.records, seconds)
        app = falcon.asgi.App()
        errors.install(app)
        router = Router(RouterOptions(2**20, 60))
        memory = SimpleNamespace(begin=self._begin, records=self.records, background=self.background)
        self.parts = SimpleNamespace(
            router=router, memory=memory, images=Images(Settings(), router), max_body_bytes=1_000_000
        )
        for area in (resource, compacting, input_tokens):
            area.install(app, self.parts)
        self.client = falcon.testing.ASGIConductor(app)

    async def _begin(self, spec, request):
        self.specs.append(spec)
        script = self.scripts.pop(0) if self.scripts else [Content("Hello"), STOP]
        if isinstance(script, Exception):
            raise script
        self.turns.append(FakeTurn(script))
        return self.turns[-1]

    async def post(self, given="hi", **fields):
        result = await self.client.simulate_post(
            "/v1/responses", json={"model": "m", "input": given, **fields}
        )
        if not fields.get("stream"):
            assert result.status_code != 200 or checked_response(result.content)
        return result

    async def get(self, response_id, path="", **params):
        return await self.client.simulate_get(f"/v1/responses/{response_id}{path}", params=params)

    async def until(self, response_id, *statuses):
        deadline = time.monotonic() + 10
        while (body := (await self.get(response_id)).json)["status"] not in statuses:
            assert time.monotonic() < deadline, body
            await asyncio.sleep(0.005)
        return body


@contextlib.asynccontextmanager
async def serving(*args, **kwargs):
    server = Server(*args, **kwargs)
    async with server.client:
        yield server
    await server.background.close(0)
    await server.store.close()


def run(story, *args, **kwargs):
    async def told():
        async with serving(*args, **kwargs) as server:
            await story(server)

    asyncio.run(told())


def events_of(result):
    assert result.headers["content-type"].startswith("text/event-stream")
    return [
        checked_event(line.removeprefix("data: "))
        for line in result.text.split("\n")
        if line.startswith("data: ")
    ]


def test_a_response_is_answered_and_can_be_had_again_until_it_is_deleted():
    async def story(server):
        body = (await server.post()).json
        assert body["status"] == "completed"
        assert body["output"][0]["content"][0]["text"] == "Hello"
        assert (await server.get(body["id"])).json == body
        deleted = await server.client.simulate_delete(f"/v1/responses/{body['id']}")
        assert deleted.json == {"id": body["id"], "object": "response", "deleted": True}
        for result in (await server.get(body["id"]), await server.get(body["id"], "/input_items")):
            assert (result.status_code, result.json["error"]["code"]) == (404, "not_found")
        assert (await server.client.simulate_delete(f"/v1/responses/{body['id']}")).status_code == 404
        assert all(turn.closed for turn in server.turns)

    run(story)


@pytest.mark.parametrize("background", [False, True])
def test_a_stored_response_is_not_there_for_another_caller(background):
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[Content("Hello"), gate, STOP], [Content("x"), STOP], [Content("x"), STOP]]
        if not background:
            gate.set()
        with asking(Caller("alice")):
            body = (await server.post(background=background)).json
            if background:
                await server.until(body["id"], "in_progress")
        path = f"/v1/responses/{body['id']}"
        for other in (Caller("bob"), ANYBODY):
            with asking(other):
                for result in (
                    await server.get(body["id"]),
                    await server.get(body["id"], "/input_items"),
                    await server.get(body["id"], stream="true"),
                    await server.client.simulate_post(f"{path}/cancel"),
                    await server.client.simulate_delete(path),
                ):
                    assert (result.status_code, result.json["error"]["code"]) == (404, "not_found")
                result = await server.post(previous_response_id=body["id"])
                assert result.json["error"]["code"] == "previous_response_not_found"
        gate.set()
        with asking(Caller("alice")):
            await server.until(body["id"], "completed")
            item = (await server.get(body["id"])).json["output"][0]["id"]
            assert (await server.client.simulate_delete(path)).status_code == 200
        with asking(Caller("bob")):
            result = await server.post(input=[{"type": "item_reference", "id": item}])
            assert result.status_code == 400

    run(story)


def test_a_background_response_is_made_with_the_rights_of_whoever_asked():
    async def story(server):
        asked = Caller("alice", models=("a*",))
        seen = []
        begin = server.background._begin

        async def noting(*given):
            seen.append(sight().caller)
            return await begin(*given)

        server.background._begin = noting
        with asking(asked):
            body = (await server.post(background=True)).json
            await server.until(body["id"], "completed")
        assert seen == [asked]

    run(story)


def test_what_is_not_to_be_stored_is_not():
    async def story(server):
        body = (await server.post(store=False)).json
        assert body["store"] is False
        assert (await server.get(body["id"])).status_code == 404
        result = await server.post(previous_response_id=body["id"])
        assert (result.status_code, result.json["error"]["code"]) == (400, "previous_response_not_found")
        assert result.json["error"]["param"] == "previous_response_id"

    run(story)


def test_a_conversation_goes_on_without_the_earlier_instructions():
    async def story(server):
        server.scripts = [
            [Reasoning("hm"), CallBegun(0, "f"), CallArguments(0, "{}"), Finished("tool_calls")],
            [Content("Sun."), STOP],
            [Content("Bye."), STOP],
        ]
        first = (await server.post("weather?", instructions="Be brief.")).json
        call_id = first["output"][1]["call_id"]
        assert call_id == "call_0_0"
        output = [{"type": "function_call_output", "call_id": call_id, "output": "sun"}]
        second = (await server.post(output, previous_response_id=first["id"])).json
        assert second["previous_response_id"] == first["id"]
        await server.client.simulate_delete(f"/v1/responses/{first['id']}")  # the second does not need it
        await server.post("bye", previous_response_id=second["id"], instructions="Be polite.")
        assert [message.role for message in server.specs[1].messages] == ["user", "assistant", "tool"]
        last = server.specs[2].messages
        assert [message.role for message in last] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        assert last[0].content == "Be polite."
        assert (last[2].reasoning, last[2].tool_calls[0].name) == ("hm", "f")

    run(story)


def test_a_stream_says_what_the_stored_response_says():
    async def story(server):
        events = events_of(await server.post(stream=True))
        assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
        assert events[-1].type == "response.completed"
        assert accumulated(events).output_text == "Hello"
        stored = checked_response((await server.get(events[-1].response.id)).content)
        assert stored == events[-1].response
        assert server.specs[0].streaming
        assert server.turns[0].closed

    run(story)


@pytest.mark.parametrize("error", [EngineCrashed("the engine died"), ValueError("a secret defect")])
def test_a_failure_in_a_stream_ends_it_with_the_failed_response(error):
    async def story(server):
        server.scripts = [[Content("Hel"), error]]
        result = await server.post(stream=True)
        events = events_of(result)
        assert events[-1].type == "response.failed"
        assert "secret" not in result.text
        assert events[-1].response.output_text == "Hel"
        assert [event.type for event in events].count("response.failed") == 1
        assert (await server.get(events[-1].response.id)).json["status"] == "failed"
        assert server.turns[0].closed

    run(story)


def test_a_failure_without_a_stream_is_an_http_error():
    async def story(server):
        server.scripts = [[Content("Hel"), EngineCrashed("the engine died")], BadRequest("no", "input")]
        result = await server.post()
        assert (result.status_code, result.json["error"]["code"]) == (500, "engine_crashed")
        assert server.turns[0].closed
        assert (await server.post(stream=True)).status_code == 400

    run(story)


def test_what_is_started_over_counts_once():
    async def story(server):
        server.scripts = [[Content("wro"), StartedOver(), Content("right"), STOP]]
        assert (await server.post()).json["output"][0]["content"][0]["text"] == "right"

    run(story)


def test_a_client_that_leaves_a_stream_is_told_nothing_and_nothing_is_kept():
    async def story(server):
        server.scripts = [[Content("Hel"), ClientGone()]]
        events = events_of(await server.post(stream=True))
        assert events[-1].type == "response.output_text.delta"
        assert server.turns[0].closed
        assert (await server.get(events[0].response.id)).status_code == 404

    run(story)


class BrokenStore:
    """Works until it is broken."""

    def __init__(self):
        self._store = open_store("memory:", LIMITS)
        self.broken = ()  # methods

    def __getattr__(self, name):
        if name in self.broken:

            async def fail(*_):
                raise StoreUnavailable("the session store failed")

            return fail
        return getattr(self._store, name)


def test_a_store_that_is_down_is_a_503_before_any_work():
    async def story(server):
        server.store.broken = ("get", "put", "delete", "replace")
        for result in (
            await server.post(),
            await server.post(stream=True),
            await server.post(background=True),
            await server.post(previous_response_id="resp_1", store=False),
            await server.get("resp_1"),
            await server.client.simulate_delete("/v1/responses/resp_1"),
            await server.client.simulate_post("/v1/responses/resp_1/cancel"),
        ):
            assert (result.status_code, result.json["error"]["code"]) == (503, "store_unavailable")
        assert not server.specs
        assert (await server.post(store=False)).status_code == 200

    run(story, BrokenStore())


def test_a_response_that_cannot_be_kept_is_not_called_completed():
    async def story(server):
        server.store.broken = ("put",)
        assert (await server.post()).status_code == 503
        events = events_of(await server.post(stream=True))
        assert [event.type for event in events][-2:] == ["response.output_item.done", "response.failed"]
        assert [event.sequence_number for event in events] == list(range(len(events)))

    run(story, BrokenStore())


def test_input_items_are_listed_in_either_order_and_by_page():
    async def story(server):
        given = [{"role": "user", "id": f"msg_{i}", "content": str(i)} for i in range(5)]
        body = (await server.post(given)).json

        async def listed(**params):
            page = (await server.get(body["id"], "/input_items", **params)).json
            assert page["object"] == "list"
            ids = [item["id"] for item in page["data"]]
            assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
            return "".join(item["content"][0]["text"] for item in page["data"]), page["has_more"]

        assert await listed() == ("43210", False)
        assert await listed(order="asc", limit=2) == ("01", True)
        assert await listed(order="asc", limit=2, after="msg_1") == ("23", True)
        assert await listed(limit=2, after="msg_2") == ("10", False)
        assert await listed(after="msg_0") == ("", False)
        for wrong in ({"order": "up"}, {"limit": 0}, {"limit": 101}, {"limit": "x"}, {"after": "nobody"}):
            result = await server.get(body["id"], "/input_items", **wrong)
            assert result.status_code == 400
            assert next(iter(wrong)) in result.json["error"]["message"]

    run(story)


def test_a_stored_response_is_not_streamed():
    async def story(server):
        body = (await server.post()).json
        result = await server.get(body["id"], stream="true")
        assert (result.status_code, result.json["error"]["param"]) == (400, "stream")

    run(story)


def test_a_background_response_is_queued_then_generated_then_stays():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[Content("Hel"), gate, Content("lo"), STOP]]
        body = (await server.post("hi", background=True)).json
        assert (body["status"], body["background"], body["output"]) == ("queued", True, [])
        body = await server.until(body["id"], "in_progress")
        while not (await server.get(body["id"])).json["output"]:
            await asyncio.sleep(0.005)
        assert (await server.get(body["id"])).json["output"][0]["content"][0]["text"] == "Hel"
        result = await server.post(previous_response_id=body["id"])
        assert result.status_code == 400
        assert "in_progress" in result.json["error"]["message"]
        gate.set()
        body = await server.until(body["id"], "completed")
        assert body["output"][0]["content"][0]["text"] == "Hello"
        assert server.turns[0].closed
        cancelled = await server.client.simulate_post(f"/v1/responses/{body['id']}/cancel")
        assert cancelled.json == body
        assert (await server.post(previous_response_id=body["id"])).status_code == 200

    run(story)


def test_a_background_response_that_is_cancelled_stops():
    async def story(server):
        server.scripts = [[Content("Hel"), asyncio.Event()]]
        body = (await server.post(background=True)).json
        await server.until(body["id"], "in_progress")
        while not (await server.get(body["id"])).json["output"]:
            await asyncio.sleep(0.005)
        cancelled = (await server.client.simulate_post(f"/v1/responses/{body['id']}/cancel")).json
        assert (cancelled["status"], cancelled["output"][0]["status"]) == ("cancelled", "incomplete")
        assert server.turns[0].closed
        assert (await server.get(body["id"])).json == cancelled

    run(story)


def test_a_response_that_is_no_background_response_cannot_be_cancelled():
    async def story(server):
        body = (await server.post()).json
        assert (await server.client.simulate_post(f"/v1/responses/{body['id']}/cancel")).status_code == 400
        assert (await server.client.simulate_post("/v1/responses/resp_x/cancel")).status_code == 404

    run(story)


@pytest.mark.parametrize("script", [EngineCrashed("died"), [Content("Hel"), EngineCrashed("died")]])
def test_a_background_response_that_fails_says_so(script):
    async def story(server):
        server.scripts = [script]
        body = await server.until((await server.post(background=True)).json["id"], "failed")
        assert body["error"] == {"code": "server_error", "message": "died"}

    run(story)


def test_a_background_response_has_a_deadline():
    async def story(server):
        server.scripts = [[asyncio.Event()]]
        body = await server.until((await server.post(background=True)).json["id"], "failed")
        assert "longer than 0.05 seconds" in body["error"]["message"]
        assert server.turns[0].closed

    run(story, seconds=0.05)


def test_background_responses_are_bounded(monkeypatch):
    monkeypatch.setattr("frontend.api.responses.background.MAX_TASKS", 2)

    async def story(server):
        server.scripts = [[asyncio.Event()], [asyncio.Event()]]
        ids = [(await server.post(background=True)).json["id"] for _ in range(2)]
        assert (await server.post(background=True)).status_code == 429
        await server.client.simulate_delete(f"/v1/responses/{ids[0]}")  # which cancels it
        assert (await server.get(ids[0])).status_code == 404
        assert (await server.post(background=True)).status_code == 200

    run(story)


def test_at_a_shutdown_what_can_finish_does_and_the_rest_is_failed():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[gate, STOP], [asyncio.Event()]]
        ids = [(await server.post(background=True)).json["id"] for _ in range(2)]
        for response_id in ids:
            await server.until(response_id, "in_progress")
        gate.set()
        await server.background.close(0.2)
        bodies = [(await server.get(response_id)).json for response_id in ids]
        assert [body["status"] for body in bodies] == ["completed", "failed"]
        assert "shut down" in bodies[1]["error"]["message"]
        assert (await server.post(background=True)).status_code == 503

    run(story)


def test_another_server_can_cancel_a_background_response_for_good(tmp_path):
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[gate, Content("late"), STOP]]
        body = (await server.post(background=True)).json
        await server.until(body["id"], "in_progress")
        async with serving(open_store(f"sqlite:{tmp_path / 's'}", LIMITS)) as other:
            cancelled = await other.client.simulate_post(f"/v1/responses/{body['id']}/cancel")
            assert cancelled.json["status"] == "cancelled"
        gate.set()
        await server.background.close(10)
        assert (await server.get(body["id"])).json["status"] == "cancelled"

    run(story, open_store(f"sqlite:{tmp_path / 's'}", LIMITS))


class Stumbling(MemoryStore):
    """Away for as many changes as `away` says."""

    away = 0
    changes = 0

    async def replace(self, key, old, new):
        self.changes += 1
        if self.changes > 1 and self.away:  # the first says that it is in progress
            self.away -= 1
            raise StoreUnavailable("away")
        return await super().replace(key, old, new)


def test_a_background_response_is_kept_though_the_store_is_away_for_a_moment(monkeypatch):
    monkeypatch.setattr(background, "_AGAIN_SECONDS", 0.001)
    store = Stumbling(LIMITS)
    store.away = 3

    async def story(server):
        body = (await server.post(background=True)).json
        await server.background.close(10)
        assert (await server.get(body["id"])).json["status"] == "completed"
        assert store.away == 0

    run(story, store)


def test_a_background_response_that_is_too_large_for_the_store_says_so():
    async def story(server):
        server.scripts = [[Content("x" * LIMITS.max_value_bytes), STOP]]
        body = (await server.post(background=True)).json
        await server.background.close(10)
        ended = (await server.get(body["id"])).json
        assert (ended["status"], ended["output"]) == ("failed", [])
        assert str(LIMITS.max_value_bytes) in ended["error"]["message"]

    run(story)


def test_a_record_that_cannot_grow_at_all_is_given_up():
    sizes = []

    class Full(MemoryStore):
        async def replace(self, key, old, new):
            sizes.append(len(new))
            raise RequestTooLarge("full")

    async def story(server):
        await server.post(background=True)
        await asyncio.wait_for(server.background.close(10), 10)
        assert len(sizes) == 3  # in progress, completed, and without its output

    run(story, Full(LIMITS))


def test_a_response_that_is_not_stored_yet_is_gone_on_with_whole():
    async def story(server):
        store, may_keep = server.store, asyncio.Event()

        async def slow(key, old, new):
            await may_keep.wait()
            return await MemoryStore.replace(store, key, old, new)

        gate = asyncio.Event()
        server.scripts = [[gate, Content("Hello"), STOP]]
        body = (await server.post(background=True)).json
        await server.until(body["id"], "in_progress")
        store.replace = slow
        gate.set()
        await server.until(body["id"], "completed")
        await server.post("and now?", previous_response_id=body["id"])
        assert [m.content for m in server.specs[-1].messages] == ["hi", "Hello", "and now?"]
        may_keep.set()

    run(story)


def test_many_references_to_one_response_cost_one_look(monkeypatch):
    async def story(server):
        (item,) = (await server.post()).json["output"]
        number = item["id"].rpartition("-")[0]
        looks = []
        load = server.records.load

        async def counted(response_id):
            looks.append(response_id)
            return await load(response_id)

        server.records.load = counted
        unknown = [{"type": "item_reference", "id": f"{number}-{n}"} for n in range(100, 140)]
        assert (await server.post(unknown, store=False)).status_code == 400
        assert len(looks) == 1

    run(story)


def test_a_background_response_whose_server_is_gone_is_failed_after_its_deadline():
    body = msgspec.convert({"model": "m", "input": "hi", "background": True}, ResponsesRequest)
    record = Record(response=response_of(body, new_id, 0), input=[], deadline=100.0)
    assert as_of(record, 100.0).status == "queued"
    gone = as_of(record, 100.1)
    assert gone.status == "failed"
    assert gone.error is not None and "stopped" in gone.error.message
    done = msgspec.structs.replace(record.response, status="completed")
    assert as_of(msgspec.structs.replace(record, response=done), 1000.0).status == "completed"


def test_a_record_of_another_version_is_as_if_it_were_not_there():
    async def story(server):
        await server.store.put("response:resp_old", b"\x93what is this")
        assert (await server.get("resp_old")).status_code == 404

    run(story)


def test_an_item_tells_its_response():
    response_id = new_id("resp")
    make = item_ids(response_id)
    ids = [make(prefix) for prefix in ("msg", "fc", "fc")]
    assert len(set(ids)) == 3
    assert {response_id_of(item_id) for item_id in ids} == {response_id}
    assert response_id_of(new_id("msg")) is None
    assert response_id_of("anything else") is None


def test_items_of_stored_responses_can_be_referred_to():
    async def story():
        async with serving() as server:
            user = {"role": "user", "content": "hi"}
            given = [user]
            for answer in ("one", "two", "three"):
                server.scripts.append([Content(answer), STOP])
                (item,) = (await server.post(given)).json["output"]
                given = [*given, {"type": "item_reference", "id": item["id"]}, user]
            assert [m.content for m in server.specs[-1].messages] == ["hi", "one", "hi", "two", "hi"]
            unknown = {"type": "item_reference", "id": item_ids(new_id("resp"))("msg")}
            refused = await server.post([*given, unknown])
            assert (refused.status_code, refused.json["error"]["param"]) == (400, f"input[{len(given)}].id")

    asyncio.run(story())


def test_the_same_in_the_background():
    async def story(server):
        server.scripts.append(
            HostRefused(RequestError(ErrorCode.INVALID_VALUE, "it is too long", "messages"))
        )
        body = await server.until((await server.post(background=True)).json["id"], "failed")
        assert body["error"]["message"] == "input: it is too long"

    run(story)


@pytest.mark.parametrize(
    ("param", "called"), [("messages", "input"), ("max_tokens", "max_output_tokens"), ("top_p", "top_p")]
)
def test_what_a_host_refuses_is_called_as_it_is_called_here(param, called):
    async def story():
        async with serving() as server:
            error = RequestError(ErrorCode.INVALID_VALUE, "it is too long", param)
            server.scripts.append(HostRefused(error))
            body = (await server.post()).json["error"]
            assert (body["param"], body["message"]) == (called, f"{called}: it is too long")

    asyncio.run(story())
