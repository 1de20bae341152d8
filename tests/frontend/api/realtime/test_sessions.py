"""Transcription sessions over a real WebSocket and a host that is a stand-in."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import websockets
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter

from frontend.api.realtime import resource, session
from frontend.config import Settings
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Cancel,
    DetectSpeech,
    Failed,
    Segment,
    SpeechDetected,
    SpeechSpan,
    ToFrontend,
    Transcribe,
    Transcribed,
    VoiceActivity,
)
from tests.frontend.api.transcription_server import TranscriptionServer, run
from tests.frontend.api.vector_server import vector_card

_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
RATE = 24_000
COMMIT = {"type": "input_audio_buffer.commit"}
MANUAL = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}


class Client:
    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def say(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def append(self, seconds: float, value: int = 0) -> None:
        pcm = value.to_bytes(2, "little") * round(seconds * RATE)
        await self.say("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def hear(self, kind: str) -> Any:
        """The next event, which is of this kind and as OpenAI's client knows it."""
        event = _EVENT.validate_json(await asyncio.wait_for(self.socket.recv(), 20))
        assert event.type == kind, event
        return event

    async def manual(self) -> None:
        """Without turn detection."""
        await self.hear("session.created")
        await self.say("session.update", session=MANUAL)
        await self.hear("session.updated")

    async def committed(self) -> Any:
        """The events of a new item; the first one."""
        event = await self.hear("input_audio_buffer.committed")
        await self.hear("conversation.item.added")
        await self.hear("conversation.item.done")
        return event


@contextlib.asynccontextmanager
async def connected(
    server: TranscriptionServer, query: str = "?intent=transcription", **options: Any
) -> AsyncIterator[Client]:
    url = server.base_url.replace("http", "ws", 1) + f"/realtime{query}"
    async with websockets.connect(url, **options) as socket:
        yield Client(socket)


def named(work: Any) -> list[ToFrontend]:
    """A transcript that tells the item's length; no speech in the answer to a question."""
    seconds = len(work.payload) / 2 / work.pcm_rate
    if isinstance(work, DetectSpeech):
        return [SpeechDetected(work.request_id, seconds)]
    text = f" {seconds:g} seconds"
    last = Transcribed(work.request_id, seconds, last=True, duration=seconds)
    return [Transcribed(work.request_id, seconds, [Segment(0, seconds, text)], "en"), last]


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_commits_become_items_in_order():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = named
        async with connected(server) as client:
            await client.manual()
            await client.append(0.5)
            await client.say(**COMMIT)
            await client.append(0.25)
            await client.append(0.25)
            await client.append(0.1)
            first = await client.committed()
            delta = await client.hear("conversation.item.input_audio_transcription.delta")
            done = await client.hear("conversation.item.input_audio_transcription.completed")
            assert (first.previous_item_id, delta.item_id, done.item_id) == (
                None,
                first.item_id,
                first.item_id,
            )
            assert delta.delta == done.transcript == "0.5 seconds"
            assert done.usage.to_dict() == {"type": "duration", "seconds": 0.5}
            await client.say(**COMMIT)
            second = await client.committed()
            assert second.previous_item_id == first.item_id
            await client.hear("conversation.item.input_audio_transcription.delta")
            done = await client.hear("conversation.item.input_audio_transcription.completed")
            assert done.transcript == "0.6 seconds"

    run(scenario)


def hears_ones(work: Any) -> Sequence[ToFrontend]:
    """A host that takes samples of 1 for speech, and of 0 for silence."""
    if isinstance(work, Transcribe):
        return named(work)
    samples = memoryview(work.payload).cast("h")
    spoken = [index / RATE for index, sample in enumerate(samples) if sample]
    seconds = len(samples) / RATE
    spans = [SpeechSpan(spoken[0], spoken[-1] + 1 / RATE)] if spoken else []
    return [SpeechDetected(work.request_id, seconds, spans, bool(spans) and seconds - spans[0].end < 0.5)]


def test_turns_of_speech_become_items():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = hears_ones
        async with connected(server) as client:
            created = await client.hear("session.created")
            assert created.session.audio.input.turn_detection.type == "server_vad"
            await client.append(0.5)
            await client.append(0.4, value=1)
            started = await client.hear("input_audio_buffer.speech_started")
            assert started.audio_start_ms == 200
            await client.append(0.1, value=1)
            await client.append(1.0)
            stopped = await client.hear("input_audio_buffer.speech_stopped")
            assert (stopped.audio_end_ms, stopped.item_id) == (1500, started.item_id)
            assert (await client.committed()).item_id == started.item_id
            await client.hear("conversation.item.input_audio_transcription.delta")
            done = await client.hear("conversation.item.input_audio_transcription.completed")
            assert done.transcript == "1.3 seconds"
        asked = [work for work in server.host.sent if isinstance(work, DetectSpeech)]
        assert all(work.voice_activity == VoiceActivity() for work in asked)

    run(scenario)


def test_a_session_outlives_its_hosts():
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.manual()
            await client.append(0.5)
            await client.say(**COMMIT)
            await client.committed()
            await until(lambda: server.replica.jobs)
            server.host.reply = named
            server.die()  # the job goes to the next host
            await client.hear("conversation.item.input_audio_transcription.delta")
            done = await client.hear("conversation.item.input_audio_transcription.completed")
            assert done.transcript == "0.5 seconds"

    run(scenario)


def test_an_item_that_fails_is_an_event_and_the_session_goes_on():
    error = RequestError(ErrorCode.ENGINE_FAILED, "no luck")

    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = lambda work: [Failed(work.request_id, error)]
        async with connected(server) as client:
            await client.manual()
            await client.append(0.5)
            await client.say(**COMMIT)
            item = (await client.committed()).item_id
            failed = await client.hear("conversation.item.input_audio_transcription.failed")
            assert (failed.item_id, failed.error.code, failed.error.message) == (
                item,
                "engine_failed",
                "no luck",
            )
            server.host.reply = named
            await client.append(0.5)
            await client.say(**COMMIT)
            await client.committed()

    run(scenario)


def test_settings_become_work():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = named
        async with connected(server) as client:
            await client.hear("session.created")
            transcription = {"model": "m", "language": "german", "prompt": "Nacelle", "keywords": ["IR"]}
            given = {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": transcription,
                "turn_detection": None,
                "noise_reduction": {"type": "near_field"},
            }
            await client.say("session.update", session={"type": "transcription", "audio": {"input": given}})
            shown = (await client.hear("session.updated")).session.audio.input
            assert shown.transcription.to_dict() == {**transcription}
            assert shown.turn_detection is None
            prompt = {"audio": {"input": {"transcription": {"prompt": None}}}}
            await client.say("session.update", session={"type": "transcription", **prompt})
            assert (
                await client.hear("session.updated")
            ).session.audio.input.transcription.language == "german"
            await client.append(0.2)
            await client.say(**COMMIT)
            await client.committed()
            work = server.host.sent[-1]
            assert (work.language, work.prompt, work.keywords, work.pcm_rate) == ("de", "", ["IR"], RATE)

    run(scenario)


def test_the_first_version_of_the_api():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = named
        async with connected(server, additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
            assert json.loads(await client.socket.recv())["type"] == "transcription_session.created"
            fields = {
                "input_audio_format": "pcm16",
                "input_audio_transcription": {"model": "m", "language": "en"},
                "turn_detection": None,
            }
            await client.say("transcription_session.update", session=fields)
            updated = json.loads(await client.socket.recv())
            assert updated["type"] == "transcription_session.updated"
            assert updated["session"]["input_audio_transcription"]["language"] == "en"
            await client.append(0.2)
            await client.say(**COMMIT)
            await client.hear("input_audio_buffer.committed")
            await client.hear("conversation.item.created")

    run(scenario)


@pytest.mark.parametrize(
    ("event", "param", "words"),
    [
        ({"type": "response.create"}, "type", "not supported"),
        ({"type": "input_audio_buffer.append", "audio": "?"}, "audio", "base64"),
        ({"type": "input_audio_buffer.append"}, "audio", "missing"),
        ({**COMMIT}, None, "less than 100 ms"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", "use transcription"),
        (
            {"type": "session.update", "session": {"input_audio_format": "g711_ulaw"}},
            "session.input_audio_format",
            "audio/pcm",
        ),
        (
            {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcma"}}}}},
            "session.audio.input.format",
            "audio/pcm",
        ),
        (
            {"type": "session.update", "session": {"turn_detection": {"type": "semantic_vad"}}},
            "session.turn_detection.type",
            "semantic_vad",
        ),
        (
            {"type": "session.update", "session": {"input_audio_transcription": {"language": "xx"}}},
            "language",
            "code",
        ),
        ({"type": "session.update", "session": {"input_audio_transcription": {"model": "n"}}}, "model", "m"),
    ],
)
def test_a_wrong_event_is_an_error_that_names_it(event: dict[str, Any], param: str | None, words: str):
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.hear("session.created")
            await client.say(**event, event_id="mine")
            error = (await client.hear("error")).error
            assert (error.param, error.event_id) == (param, "mine")
            assert words in error.message
            await client.say("input_audio_buffer.clear")
            await client.hear("input_audio_buffer.cleared")

    run(scenario)


@pytest.mark.parametrize("message", [b"\0", "{", "[]", '{"type": 1}', "nothing"])
def test_what_is_no_event_is_an_error(message: bytes | str):
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.hear("session.created")
            await client.socket.send(message)
            assert (await client.hear("error")).error.type == "invalid_request_error"

    run(scenario)


def test_a_session_holds_a_bounded_amount_of_audio(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "MOST_SECONDS", 1)

    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.manual()
            await client.append(0.9)
            await client.append(0.2)
            assert "at most 1 seconds" in (await client.hear("error")).error.message
            await client.say(**COMMIT)
            await client.committed()
            await client.append(0.5)  # is not read until the item has ended
            await until(lambda: server.replica.jobs)
            server.host.reply = named
            server.host.say(named(server.host.sent[-1]))
            await client.hear("conversation.item.input_audio_transcription.delta")
            await client.hear("conversation.item.input_audio_transcription.completed")
            await client.say(**COMMIT)
            await client.committed()
            await client.hear("conversation.item.input_audio_transcription.delta")
            done = await client.hear("conversation.item.input_audio_transcription.completed")
            assert done.transcript == "0.5 seconds"

    run(scenario)


def test_a_client_that_leaves_cancels_what_runs():
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.manual()
            await client.append(0.5)
            await client.say(**COMMIT)
            await until(lambda: server.replica.jobs)
        await until(lambda: not server.replica.jobs)
        assert isinstance(server.host.sent[-1], Cancel)

    run(scenario)


def test_a_silent_client_is_sent_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "IDLE_SECONDS", 0.01)

    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.hear("session.created")
            with pytest.raises(websockets.ConnectionClosedOK):
                await client.socket.recv()

    run(scenario)


@pytest.mark.parametrize(
    ("query", "code"), [("?intent=conversation", "invalid_value"), ("?model=nosuch", "model_not_found")]
)
def test_a_session_that_cannot_be_is_told_why(query: str, code: str):
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server, query) as client:
            assert (await client.hear("error")).error.code == code
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008

    run(scenario)


def test_there_may_be_too_many_sessions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "MOST_SESSIONS", 1)

    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.hear("session.created")
            async with connected(server) as second:
                assert (await second.hear("error")).error.code == "overloaded"
        async with connected(server) as third:
            await third.hear("session.created")

    run(scenario)


def test_a_session_needs_a_model_that_transcribes():
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.hear("session.created")
            await client.append(0.5)
            assert "no model" in (await client.hear("error")).error.message
        async with connected(server, "?model=m") as client:
            assert "does not transcribe" in (await client.hear("error")).error.message

    run(scenario, vector_card(4))


def test_the_key_may_come_as_a_subprotocol_and_without_it_there_is_no_session():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = named
        offered = ["realtime", "openai-insecure-api-key.secret"]
        async with connected(server, subprotocols=offered) as client:
            assert client.socket.subprotocol == "realtime"
            await client.hear("session.created")
        headers = {"Authorization": "Bearer secret"}
        async with connected(server, additional_headers=headers) as client:
            await client.hear("session.created")
        wrong_keys: list[dict[str, Any]] = [{"subprotocols": ["openai-insecure-api-key.guess"]}, {}]
        for wrong in wrong_keys:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connected(server, **wrong).__aenter__()
            assert refused.value.response.status_code == 401

    run(scenario, settings=Settings(api_key="secret"))


def test_a_page_of_a_stranger_gets_no_session():
    async def scenario(server: TranscriptionServer) -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connected(server, origin="https://stranger.example").__aenter__()
        assert refused.value.response.status_code == 403

    run(scenario)


def test_a_shutdown_closes_sessions():
    async def scenario(server: TranscriptionServer) -> None:
        async with connected(server) as client:
            await client.hear("session.created")
            server.http.stop()
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            await until(lambda: not server.http.server_state.tasks)

    run(scenario)


def test_over_plain_http_it_says_what_it_is():
    async def scenario(server: TranscriptionServer) -> None:
        answer = await server.raw.get("/realtime")
        assert answer.status_code == 400
        assert "WebSocket" in answer.json()["error"]["message"]

    run(scenario)
