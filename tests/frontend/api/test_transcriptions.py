"""POST /v1/audio/transcriptions and translations over a host that is a stand-in: work, formats, refusals."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.languages import NAMES, code_of, name_of
from frontend.api.schema.transcriptions import ServerVad
from frontend.api.transcription_form import request_of
from frontend.errors import BadRequest
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Cancel, Failed, Segment, Transcribe, Transcribed, VoiceActivity, Word
from tests.frontend.api.transcription_server import TranscriptionServer, run, transcription_card
from tests.frontend.api.vector_server import vector_card

FILE = ("speech.wav", b"RIFF")
WORDS = [Word(" Hello", 0.0, 0.4), Word(" there.", 0.4, 1.0)]


def transcribed(work: Transcribe) -> list[Transcribed]:
    """Two windows of speech, and 61.2 seconds in all."""
    words = WORDS if work.word_times else []
    return [
        Transcribed(work.request_id, 30.0, [Segment(0.0, 1.0, " Hello there.", words)], "en"),
        Transcribed(work.request_id, 60.0, [Segment(31.0, 32.5, " Goodbye.")], "en"),
        Transcribed(work.request_id, 61.2, last=True, duration=61.2),
    ]


async def ask(server: TranscriptionServer, path: str = "transcriptions", **fields: Any) -> httpx.Response:
    data = {"model": "m"} | fields
    return await server.raw.post(f"/audio/{path}", data=data, files={"file": FILE})


async def refusal(server: TranscriptionServer, **fields: Any) -> tuple[str | None, str]:
    answer = await ask(server, **fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error["param"], error["message"]


async def work_of(server: TranscriptionServer, **fields: Any) -> Transcribe:
    server.host.reply = transcribed
    answer = await ask(server, **fields)
    assert answer.status_code == 200, answer.text
    return next(message for message in reversed(server.host.sent) if isinstance(message, Transcribe))


def test_the_client_reads_every_format():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = transcribed
        create = server.client.audio.transcriptions.create
        plain = await create(file=FILE, model="m")
        assert plain.text == "Hello there. Goodbye."
        assert plain.usage is not None
        assert plain.usage.to_dict() == {"type": "duration", "seconds": 62}
        assert await create(file=FILE, model="m", response_format="text") == "Hello there. Goodbye.\n"
        assert (await create(file=FILE, model="m", response_format="srt")).startswith("1\n00:00:00,000 -->")
        assert (await create(file=FILE, model="m", response_format="vtt")).startswith("WEBVTT\n\n00:00:00")
        verbose = await create(file=FILE, model="m", response_format="verbose_json")
        assert (verbose.language, verbose.duration, verbose.words) == ("english", 61.2, None)
        assert verbose.segments is not None
        assert [segment.start for segment in verbose.segments] == [0.0, 31.0]

    run(scenario)


@pytest.mark.parametrize(
    ("granularities", "words", "segments"),
    [(["word"], 2, None), (["word", "segment"], 2, 2), (["segment"], None, 2)],
)
def test_verbose_answers_have_what_was_asked_for(
    granularities: list[Any], words: int | None, segments: int | None
):
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = transcribed
        verbose = await server.client.audio.transcriptions.create(
            file=FILE,
            model="m",
            response_format="verbose_json",
            timestamp_granularities=granularities,
        )
        assert (verbose.words and len(verbose.words)) == words
        assert (verbose.segments and len(verbose.segments)) == segments
        if verbose.words:
            assert verbose.words[0].to_dict() == {"word": "Hello", "start": 0.0, "end": 0.4}

    run(scenario)


def test_a_stream_has_the_text_in_deltas_and_then_the_whole():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = transcribed
        stream = await server.client.audio.transcriptions.create(file=FILE, model="m", stream=True)
        *deltas, done = [event async for event in stream]
        assert {event.type for event in deltas} == {"transcript.text.delta"}
        assert done.type == "transcript.text.done"
        assert "".join(getattr(event, "delta", "") for event in deltas) == done.text
        assert done.text == "Hello there. Goodbye."
        answer = await ask(server, stream="true", response_format="verbose_json")
        events = [json.loads(line[6:]) for line in answer.text.split("\n\n")[:-2]]
        starts = [event["start"] for event in events if event["type"] == "transcript.text.segment"]
        assert starts == [0.0, 31.0]
        assert events[-1]["usage"] == {"type": "duration", "seconds": 62}
        assert answer.text.endswith("data: [DONE]\n\n")

    run(scenario)


def test_what_fails_before_the_first_window_is_an_http_error_and_later_an_event():
    unreadable = RequestError(ErrorCode.INVALID_VALUE, "this is no audio", "file")

    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = lambda work: [Failed(work.request_id, unreadable)]
        answer = await ask(server, stream="true")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
        server.host.reply = lambda work: [transcribed(work)[0]]
        stream = await server.client.audio.transcriptions.create(file=FILE, model="m", stream=True)
        events = aiter(stream)
        assert (await anext(events)).type == "transcript.text.delta"
        server.host.say([Failed(server.host.sent[-1].request_id, unreadable)])
        with pytest.raises(openai.APIError, match="no audio"):
            await anext(events)

    run(scenario)


def test_a_client_that_leaves_cancels_its_transcription():
    async def scenario(server: TranscriptionServer) -> None:
        asked = asyncio.create_task(ask(server))
        while not server.host.sent:
            await asyncio.sleep(0)
        asked.cancel()
        work = server.host.sent[0]
        while not any(isinstance(message, Cancel) for message in server.host.sent):
            await asyncio.sleep(0)
        assert server.host.sent[-1] == Cancel(work.request_id)

    run(scenario)


def test_another_host_continues_after_the_last_window_in_the_language_that_was_found():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = lambda work: [transcribed(work)[0]] if not work.resume_windows else []
        asked = asyncio.create_task(ask(server, response_format="srt"))
        while len(server.host.sent) < 1 or not server.replica.jobs or not server.audio_seconds():
            await asyncio.sleep(0)
        server.die()
        work = server.host.sent[-1]
        assert (work.resume_seconds, work.resume_windows) == (30.0, 1)
        assert work.language == "en"
        assert work.done_units == 1
        server.host.say(transcribed(work)[1:])
        answer = await asked
        assert answer.text.count("-->") == 2
        assert server.audio_seconds() == pytest.approx(61.2)

    run(scenario)


def test_the_time_limit_begins_again_with_each_window():
    async def scenario(server: TranscriptionServer) -> None:
        asked = asyncio.create_task(ask(server))
        while not server.replica.jobs:
            await asyncio.sleep(0)
        (job,) = server.replica.jobs.values()
        stream = job._stream  # type: ignore[attr-defined]
        first = stream._expiry
        server.host.say([transcribed(server.host.sent[0])[0]])
        assert first.cancelled()
        assert stream._expiry.when() > first.when()
        server.host.say(transcribed(server.host.sent[0])[1:])
        assert (await asked).status_code == 200

    run(scenario)


def test_what_the_fields_become():
    async def scenario(server: TranscriptionServer) -> None:
        work = await work_of(
            server,
            language="German",
            prompt="Nacelle",
            temperature="0.5",
            response_format="verbose_json",
            **{
                "keywords[]": ["OpenVINO", "Silero"],
                "timestamp_granularities[]": "word",
                "chunking_strategy": '{"type": "server_vad", "threshold": 0.3}',
            },
        )
        assert (work.language, work.prompt, work.temperature) == ("de", "Nacelle", 0.5)
        assert (work.keywords, work.word_times) == (["OpenVINO", "Silero"], True)
        assert work.voice_activity == VoiceActivity(threshold=0.3)
        assert (await work_of(server, **{"languages[]": "de"})).language == "de"
        assert (await work_of(server, **{"languages[]": ["de", "en"]})).language is None
        assert (await work_of(server, language="en-US", prompt="")).language == "en"

    run(scenario)


def test_translations_are_into_english():
    async def scenario(server: TranscriptionServer) -> None:
        server.host.reply = transcribed
        answer = await ask(server, "translations", language="de", response_format="verbose_json")
        assert (answer.json()["task"], answer.json()["language"]) == ("translate", "english")
        assert server.host.sent[-1].translate
        assert (await ask(server, "translations", to_language="fr")).status_code == 400

    run(scenario)


def test_a_model_of_english_neither_translates_nor_transcribes_german():
    async def scenario(server: TranscriptionServer) -> None:
        assert (await ask(server, "translations")).json()["error"]["param"] == "model"
        assert "its languages are english" in (await refusal(server, language="de"))[1]

    run(scenario, transcription_card(["en"], translates=False))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "1.5"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "xml"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"timestamp_granularities": "x", "response_format": "verbose_json"}, "timestamp_granularities[0]"),
        ({"include[]": "logprobs"}, "include"),
        ({"known_speaker_names[]": "Ann"}, "known_speaker_names"),
        ({"language": "klingon"}, "language"),
        ({"languages[]": ["en", "fr"]}, "languages[1]"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"chunking_strategy": "{"}, "chunking_strategy"),
        ({"chunking_strategy[type]": "semantic_vad"}, "chunking_strategy.type"),
        ({"top_p": "0.5"}, "top_p"),
        ({"model": ["m", "n"]}, "model"),
        ({"model": ""}, "model"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(fields: dict[str, Any], param: str):
    async def scenario(server: TranscriptionServer) -> None:
        found, message = await refusal(server, **fields)
        assert found == param
        assert param.split("[")[0].split(".")[0] in message

    run(scenario)


def test_a_form_without_a_file_or_with_an_empty_one():
    async def scenario(server: TranscriptionServer) -> None:
        path, data = "/audio/transcriptions", {"model": "m"}
        empty = await server.raw.post(path, data=data, files={"file": ("a.wav", b"")})
        assert empty.json()["error"]["message"] == "file is empty"
        missing = await server.raw.post(path, data=data, files={"other": FILE})
        assert missing.json()["error"]["param"] == "file"

    run(scenario)


def test_other_models_do_not_transcribe():
    async def scenario(server: TranscriptionServer) -> None:
        assert await refusal(server) == (
            "model",
            "model: 'm' computes embeddings; it does not transcribe speech",
        )

    run(scenario, vector_card(4))


def test_uploads_are_closed_however_a_request_ends():
    async def scenario(server: TranscriptionServer) -> None:
        before = server.uploads()
        server.host.reply = transcribed
        for fields in ({}, {"stream": "true"}, {"temperature": "9"}, {"model": "nosuch"}):
            await ask(server, **fields)
        server.host.reply = lambda work: [
            Failed(work.request_id, RequestError(ErrorCode.ENGINE_FAILED, "no"))
        ]
        assert (await ask(server, stream="true")).status_code == 500
        assert server.uploads() == before
        waiting = asyncio.create_task(ask(server))
        server.host.reply = lambda work: []
        while not server.replica.jobs:
            await asyncio.sleep(0)
        assert server.uploads() == before + 1
        waiting.cancel()
        while server.uploads() > before:
            await asyncio.sleep(0)

    run(scenario)


def test_languages_have_one_name_and_every_name_a_code():
    assert all(code_of(name) == code == code_of(code.upper()) for code, name in NAMES.items())
    assert (code_of("pt-BR"), code_of("Mandarin"), code_of("jv"), code_of("xx")) == ("pt", "zh", "jw", None)
    assert name_of("xx") == "xx"


def test_objects_and_lists_may_be_written_in_several_ways():
    vad = {"type": "server_vad", "prefix_padding_ms": 100}
    bracketed = {f"chunking_strategy[{name}]": [str(value)] for name, value in vad.items()}
    assert request_of({"model": ["m"], **bracketed}) == request_of(
        {"model": ["m"], "chunking_strategy": [json.dumps(vad)]}
    )
    assert request_of({"model": ["m"], **bracketed}).chunking_strategy == ServerVad(
        type="server_vad", prefix_padding_ms=100
    )
    for name, given_values in [("keywords", "ab"), ("keywords[]", "ab"), ("keywords", ['["a", "b"]'])]:
        assert request_of({"model": ["m"], name: given_values}).keywords == ["a", "b"]
    assert request_of({"model": ["m"], "chunking_strategy": ["auto"]}).chunking_strategy == "auto"


snippets = st.text('[]{}",: a0', max_size=8)
names = (
    st.sampled_from(
        [
            "model",
            "language",
            "temperature",
            "stream",
            "keywords",
            "keywords[]",
            "chunking_strategy",
            "include[]",
        ]
    )
    | snippets
)
values = st.sampled_from(["true", "0.5", "[", '["a"]', "{", '{"type":"server_vad"}', "en", "[[1]]"])


@given(st.dictionaries(names, st.lists(values | snippets, max_size=3), max_size=6))
def test_no_form_is_more_than_refused(form: dict[str, list[str]]):
    try:
        assert request_of(form).model
    except BadRequest as error:
        assert error.message
