"""POST /v1/audio/speech and the lists of voices over a host that is a stand-in: work, streams, refusals."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import openai
import pytest

from frontend.api.schema.speech import MAX_CHARACTERS
from frontend.api.voice_names import OPENAI_VOICES, blend_of
from frontend.config import ModelSettings, Settings
from frontend.errors import BadRequest
from frontend.tasks.speech import BUFFER_BYTES
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Cancel, Failed, Speak, SpeechCard, SpeechInput, Spoken, Voice, VoiceWeight
from tests.frontend.api.transcription_server import TranscriptionServer, run, transcription_card

VOICES = {"af_alloy": "en-US", "af_heart": "en-US", "am_adam": "en-US", "bm_fable": "en-GB", "ef_dora": "es"}


def speech_card(voices: dict[str, str] = VOICES) -> SpeechCard:
    return SpeechCard(
        device_name="CPU",
        slots=16,
        context_length=510,
        load_seconds=1.0,
        fingerprint="",
        properties={},
        voices=[Voice(name, language) for name, language in voices.items()],
        sample_rate=24_000,
    )


def spoken(work: Speak) -> list[Spoken]:
    """Three sentences of one second, of which earlier hosts may have sent some, and the end."""
    parts = [Spoken(work.request_id, b"<%d>" % number, 24_000) for number in range(3)]
    return [*parts[work.resume_sentences :], Spoken(work.request_id, b"<end>", 0, last=True)]


def serving(scenario: Callable[[TranscriptionServer], Awaitable[None]]) -> None:
    run(scenario, speech_card())


async def ask(server: TranscriptionServer, **fields: Any) -> httpx.Response:
    return await server.raw.post("/audio/speech", json={"model": "m", "input": "Hello."} | fields)


async def work_of(server: TranscriptionServer, **fields: Any) -> Speak:
    server.host.reply = spoken
    answer = await ask(server, **fields)
    assert answer.status_code == 200, answer.text
    return next(message for message in reversed(server.host.sent) if isinstance(message, Speak))


def sent_works(server: TranscriptionServer) -> list[Speak]:
    return [message for message in server.host.sent if isinstance(message, Speak)]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_the_client_gets_a_file_and_needs_no_field_of_ours():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = spoken
        answer = await server.client.audio.speech.create(model="m", input="Hello.", voice="alloy")
        assert answer.content == b"<0><1><2><end>"
        assert answer.response.headers["content-type"] == "audio/mpeg"
        work = sent_works(server)[-1]
        assert (work.voice, work.speed, work.format) == ([VoiceWeight("af_alloy", 1.0)], 1.0, "mp3")
        assert isinstance(work.payload, bytes)
        assert msgspec.msgpack.decode(work.payload, type=SpeechInput).text == "Hello."
        async with server.client.audio.speech.with_streaming_response.create(
            model="m", input="Hello.", voice="alloy", response_format="wav"
        ) as streamed:
            assert b"".join([part async for part in streamed.iter_bytes()]) == b"<0><1><2><end>"

    serving(scenario)


@pytest.mark.parametrize(
    ("audio_format", "media_type"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm"),
    ],
)
def test_every_format_has_its_media_type(audio_format: str, media_type: str):
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = spoken
        answer = await ask(server, response_format=audio_format)
        assert answer.headers["content-type"] == media_type
        assert sent_works(server)[-1].format == audio_format

    serving(scenario)


async def begin(server: TranscriptionServer, **fields: Any) -> httpx.Response:
    """Ask, let the first sentence arrive, and return the response, whose body has begun."""
    known = len(sent_works(server))
    body = {"model": "m", "input": "Hello."} | fields
    request = server.raw.build_request("POST", "/audio/speech", json=body)
    asking = asyncio.create_task(server.raw.send(request, stream=True))
    await until(lambda: len(sent_works(server)) > known)
    assert not asking.done(), "no head before the first sentence"
    server.host.say(spoken(sent_works(server)[-1])[:1])
    return await asking


def test_audio_leaves_sentence_by_sentence():
    async def scenario(server: TranscriptionServer) -> None:
        answer = await begin(server)
        parts = answer.aiter_raw()
        assert await anext(parts) == b"<0>"
        server.host.say(spoken(sent_works(server)[0])[1:])
        assert b"".join([part async for part in parts]) == b"<1><2><end>"

    serving(scenario)


def test_events_carry_the_audio_in_base64():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = spoken
        answer = await ask(server, stream_format="sse")
        assert answer.headers["content-type"] == "text/event-stream"
        *lines, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        *deltas, last = map(json.loads, lines)
        assert done == "[DONE]"
        assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
        assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == b"<0><1><2><end>"
        usage = {"input_tokens": 6, "output_tokens": 0, "total_tokens": 6, "seconds": 3.0}
        assert last == {"type": "speech.audio.done", "usage": usage}

    serving(scenario)


def test_a_new_host_continues_after_the_last_sentence():
    async def scenario(server: TranscriptionServer) -> None:
        asking = asyncio.create_task(ask(server))
        await until(lambda: sent_works(server))
        server.host.say(spoken(sent_works(server)[0])[:2])
        server.host.reply = spoken
        server.die()
        assert (await asking).content == b"<0><1><2><end>"
        again = sent_works(server)[-1]
        assert (again.resume_sentences, again.resume_samples) == (2, 48_000)
        value = server.metrics.registry.get_sample_value
        assert value("nacelle_spoken_seconds_total", {"model": "m"}) == 3.0
        assert value("nacelle_time_to_first_audio_seconds_count", {"model": "m"}) == 1

    serving(scenario)


def test_a_refusal_is_an_http_error():
    def refuse(work: Speak) -> list[Failed]:
        return [Failed(work.request_id, RequestError(ErrorCode.INVALID_VALUE, "no such voice", "voice"))]

    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = refuse
        for stream_format in ("audio", "sse"):
            answer = await ask(server, stream_format=stream_format)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == "voice"

    serving(scenario)


def fail(server: TranscriptionServer) -> None:
    """The latest request fails."""
    error = RequestError(ErrorCode.ENGINE_FAILED, "broken")
    server.host.say([Failed(sent_works(server)[-1].request_id, error)])


def test_a_failure_in_mid_stream_cuts_audio_off():
    async def scenario(server: TranscriptionServer) -> None:
        answer = await begin(server)
        fail(server)
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()
        with pytest.raises(ConnectionResetError):
            await _fail_over_http_1_0(server)
        server.host.reply = spoken
        assert (await ask(server)).content == b"<0><1><2><end>"

    serving(scenario)


def test_a_failure_in_mid_stream_is_an_event_among_events():
    async def scenario(server: TranscriptionServer) -> None:
        answer = await begin(server, stream_format="sse")
        fail(server)
        text = (await answer.aread()).decode()
        assert "speech.audio.delta" in text
        assert '"type":"server_error"' in text
        assert "[DONE]" not in text

    serving(scenario)


async def _fail_over_http_1_0(server: TranscriptionServer) -> None:
    """A response to HTTP/1.0 ends with its connection, which must not look as if it were complete."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.getsockname()[1])
    body = b'{"model":"m","input":"Hi."}'
    head = b"POST /v1/audio/speech HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    await until(lambda: len(sent_works(server)) == 2)
    server.host.say(spoken(sent_works(server)[1])[:1])
    await reader.readuntil(b"<0>")
    fail(server)
    try:
        await reader.read()
    finally:
        writer.close()


def test_a_client_that_leaves_stops_the_work():
    async def scenario(server: TranscriptionServer) -> None:
        asking = asyncio.create_task(ask(server))
        await until(lambda: sent_works(server))
        asking.cancel()
        await until(lambda: Cancel(sent_works(server)[0].request_id) in server.host.sent)

    serving(scenario)


def test_a_client_that_reads_slowly_makes_the_job_wait():
    """Once the client reads again, another job continues after the last sentence."""
    piece = bytes(1024**2)
    many = 40

    async def scenario(server: TranscriptionServer) -> None:
        port = server.listener.getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        body = b'{"model":"m","input":"Hi.","response_format":"pcm"}'
        writer.write(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await until(lambda: sent_works(server))
        sent = 0

        def stopped() -> bool:
            return Cancel(sent_works(server)[-1].request_id) in server.host.sent

        while not stopped():
            server.host.say([Spoken(sent_works(server)[-1].request_id, piece, 10)])
            sent += 1
            await asyncio.sleep(0)
            assert sent < many, "the buffer grows without end"
        assert sent * len(piece) >= BUFFER_BYTES

        def rest(work: Speak) -> list[Spoken]:
            assert (work.resume_sentences, work.resume_samples) == (sent, 10 * sent)
            return [Spoken(work.request_id, b"end", 0, last=True)]

        server.host.reply = rest
        received = await reader.read()
        while more := await reader.read(2**20):
            received += more
        assert received.count(b"\0") == sent * len(piece)
        assert b"end" in received
        writer.close()

    serving(scenario)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "x" * (MAX_CHARACTERS + 1)}, "input"),
        ({"input": None}, "input"),
        ({"speed": 0.2}, "speed"),
        ({"speed": 4.1}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"stream_format": "xml"}, "stream_format"),
        ({"voice": ""}, "voice"),
        ({"voice": {"name": "x"}}, "voice"),
        ({"voice": "a b"}, "voice"),
        ({"voice": "a:0+b:0"}, "voice"),
        ({"voice": "+".join(["a"] * 17)}, "voice"),
        ({"lang": "de"}, "lang"),
        ({"lang": "es", "voice": "af_heart"}, "lang"),
        ({"volume_multiplier": 2}, "volume_multiplier"),
        ({"ref_audio": "data:"}, "ref_audio"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str):
    async def scenario(server: TranscriptionServer) -> None:
        answer = await ask(server, **fields)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith(param)
        assert sent_works(server) == []

    serving(scenario)


def test_fields_that_ask_for_nothing_are_accepted():
    async def scenario(server: TranscriptionServer) -> None:
        nothing = dict.fromkeys(
            ("voice", "speed", "response_format", "stream_format", "instructions", "lang")
        )
        work = await work_of(server, **nothing, volume_multiplier=1.0, stream=True, user="me")
        assert work.voice == [VoiceWeight("af_heart", 1.0)]
        work = await work_of(server, instructions="Speak like a pirate.", voice={"id": "am_adam"}, speed=0.25)
        assert (work.voice, work.speed) == ([VoiceWeight("am_adam", 1.0)], 0.25)

    serving(scenario)


def test_other_models_do_not_read_aloud_and_this_one_does_nothing_else():
    async def scenario(server: TranscriptionServer) -> None:
        answer = await ask(server)
        message = "model: 'm' transcribes speech; it does not read texts aloud"
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)

    async def other(server: TranscriptionServer) -> None:
        with pytest.raises(openai.BadRequestError, match="reads texts aloud; it does not generate text"):
            await server.client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}]
            )

    run(scenario, transcription_card())
    serving(other)


def test_voices_and_models_are_listed():
    async def scenario(server: TranscriptionServer) -> None:
        for query in ("", "?model=m"):
            voices = (await server.raw.get(f"/audio/voices{query}")).json()["voices"]
            assert [voice["id"] for voice in voices] == list(VOICES)
            assert voices[4] == {"id": "ef_dora", "name": "ef_dora", "language": "es", "model": "m"}
        assert (await server.raw.get("/audio/voices?model=x")).status_code == 404
        assert (await server.raw.get("/audio/models")).json() == {"models": [{"id": "m", "name": "m"}]}

    serving(scenario)


def blend(name: str | None, language: str | None = None, **aliases: str) -> dict[str, float]:
    parts = blend_of(name, language, aliases, speech_card())
    return {part.name: round(part.weight, 3) for part in parts}


def test_voices_are_named_blended_and_renamed():
    assert blend("af_heart:0.7+am_adam:0.3") == {"af_heart": 0.7, "am_adam": 0.3}
    assert blend("af_heart+am_adam") == {"af_heart": 0.5, "am_adam": 0.5}
    assert blend("af_heart(2) + am_adam(1)") == {"af_heart": 0.667, "am_adam": 0.333}
    assert blend("alloy+bm_fable:3") == {"af_alloy": 0.25, "bm_fable": 0.75}
    assert blend("nova") == blend(None) == blend("default") == {"af_heart": 1}  # it has no af_nova
    assert blend(None, default="am_adam") == {"am_adam": 1}
    assert blend("nova", nova="af_heart:1+am_adam:3") == {"af_heart": 0.25, "am_adam": 0.75}
    assert blend("nova:1+bm_fable:1", nova="af_heart+am_adam") == {
        "af_heart": 0.25,
        "am_adam": 0.25,
        "bm_fable": 0.5,
    }
    assert blend("anything") == {"anything": 1}  # the host knows whether it exists


def test_a_language_chooses_a_voice_or_must_be_the_voices():
    assert blend(None, "es") == blend("alloy", "es-MX") == blend("ef_dora", "ES") == {"ef_dora": 1}
    assert blend(None, "en-gb") == {"bm_fable": 1}
    assert blend("alloy", "en") == {"af_heart": 1}
    with pytest.raises(BadRequest, match="it speaks en-US, en-GB, es"):
        blend(None, "ja")
    with pytest.raises(BadRequest, match="af_alloy speaks en-US; use one of ef_dora"):
        blend("af_alloy", "es")


def test_every_voice_of_openai_has_a_counterpart():
    for name in OPENAI_VOICES:
        assert len(blend(name)) == 1


def test_aliases_are_a_setting_of_a_model():
    settings = Settings(models=[ModelSettings(name="m", source="m", voice_aliases={"alloy": "am_adam"})])
    assert settings.models[0].voice_aliases["alloy"] == "am_adam"
