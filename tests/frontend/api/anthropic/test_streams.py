"""Streams and whole answers of POST /v1/messages over ASGI, with turns that are told what to say."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from frontend.api import sse
from frontend.api.anthropic import resource
from frontend.api.turns import Finished
from frontend.errors import EngineCrashed, QueueFull
from frontend.parsing.events import Content, Reasoning
from tests.frontend.api.responses.test_resource import FakeTurn
from tests.frontend.api.vector_server import VectorServer, run, vector_card

STOP = Finished("stop")
BODY: dict[str, Any] = {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = {**BODY, "stream": True}


def saying(
    script: Callable[[], Awaitable[list[Any]]], scenario: Callable[[VectorServer], Awaitable[None]]
) -> None:
    """Run a scenario in which each turn says what `script` returns, or is refused with what it raises."""

    async def begin_turn(model: object, spec: object, request: object) -> Any:
        return FakeTurn(await script())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "begin_turn", begin_turn)
        run(scenario, vector_card(4))


def named_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    frames = [frame.split("\n") for frame in text.removesuffix("\n\n").split("\n\n")]
    return [
        (named.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for named, data in frames
    ]


def test_a_stream_has_the_events_in_their_order() -> None:
    async def script() -> list[Any]:
        return [Reasoning("Hm."), Content("Hel"), Content("lo."), STOP]

    async def scenario(server: VectorServer) -> None:
        answer = await server.post("/v1/messages", **STREAMED)
        assert answer.headers["content-type"] == "text/event-stream"
        events = named_events(answer.text)
        assert [name for name, _ in events] == [
            *("message_start", "ping"),
            *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
            *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
            *("message_delta", "message_stop"),
        ]
        assert all(name == body["type"] for name, body in events)
        whole = (await server.post("/v1/messages", **BODY)).json()
        assert [block["type"] for block in whole["content"]] == ["thinking", "text"]
        assert whole["content"][1]["text"] == "Hello."

    saying(script, scenario)


def test_a_stream_that_waits_pings_and_then_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PATIENCE_SECONDS", 0.0)

    async def script() -> list[Any]:
        await asyncio.sleep(0.01)
        return [Content("Hello."), STOP]

    async def scenario(server: VectorServer) -> None:
        events = named_events((await server.post("/v1/messages", **STREAMED)).text)
        assert [name for name, _ in events][:3] == ["ping", "message_start", "ping"]
        assert events[-1] == ("message_stop", {"type": "message_stop"})

    saying(script, scenario)


@pytest.mark.parametrize("patience", [60.0, 0.0], ids=["soon", "late"])
def test_an_error_after_the_beginning_is_the_last_event(
    monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(sse, "PATIENCE_SECONDS", patience)

    async def script() -> list[Any]:
        return [Content("Hel"), EngineCrashed("it died")]

    async def scenario(server: VectorServer) -> None:
        answer = await server.post("/v1/messages", **STREAMED)
        name, body = named_events(answer.text)[-1]
        assert name == body["type"] == "error"
        assert body["error"]["type"] == "api_error"
        assert body["request_id"] == answer.headers["request-id"]

    saying(script, scenario)


@pytest.mark.parametrize("fields", [BODY, STREAMED], ids=["whole", "streamed"])
def test_a_refusal_before_the_beginning_is_an_http_error(fields: dict[str, Any]) -> None:
    async def script() -> list[Any]:
        raise QueueFull("full", retry_after=2)

    async def scenario(server: VectorServer) -> None:
        answer = await server.post("/v1/messages", **fields)
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
        assert answer.headers["retry-after"] == "2"

    saying(script, scenario)


def test_no_tokens_at_all_are_an_empty_answer() -> None:
    async def script() -> list[Any]:
        return [Content("Hello"), STOP]

    async def scenario(server: VectorServer) -> None:
        answer = (await server.post("/v1/messages", **{**BODY, "max_tokens": 0})).json()
        assert (answer["content"], answer["stop_reason"]) == ([], "max_tokens")
        assert answer["usage"]["output_tokens"] == 0

    saying(script, scenario)
