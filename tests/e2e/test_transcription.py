"""Transcription over HTTP and WebSockets: a real server with Whisper tiny.en and Silero, asked by the OpenAI
client about synthetic speech."""

import asyncio
import base64
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from host.audio.samples import RATE, Samples
from tests.e2e.serving import Serving, wait_for
from tests.host.audio.files import encoded
from tests.host.audio.speaking import speak

MODEL = "whisper-tiny-en"
SENTENCES = ("Good morning everybody.", "The door is open.", "We will meet again at noon.")
PAUSE = np.zeros(RATE * 3 // 2, np.float32)
PCM_RATE = 24_000
CHUNK = PCM_RATE * 2 // 10  # bytes: 0.1 s
LOADS_SECONDS = 240.0  # that a busy machine may need to load the model several times


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with Serving([MODEL], [], {"NACELLE_FAULTS": "1"}) as serving:
        yield serving.wait_until_ready(MODEL)


@pytest.fixture(scope="module")
def recording() -> Samples:
    """Three sentences with pauses between and behind them."""
    return np.concatenate([part for sentence in SENTENCES for part in (speak(sentence), PAUSE)])


@pytest.fixture(scope="module")
def long_recording(recording: Samples) -> bytes:
    """Of several windows."""
    return encoded(np.tile(recording, 6), "wav")


def words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def error_rate(heard: str, said: str) -> float:
    """Of words: the edits that turn one text into the other, as a part of what was said."""
    got, wanted = words(heard), words(said)
    row = list(range(len(wanted) + 1))
    for count, word in enumerate(got, 1):
        before, row[0] = row[0], count
        for index, other in enumerate(wanted, 1):
            before, row[index] = (
                row[index],
                min(row[index] + 1, row[index - 1] + 1, before + (word != other)),
            )
    return row[-1] / len(wanted)


def test_the_client_reads_the_words_and_their_times(server: Serving, recording: Samples):
    file = encoded(recording, "mp3")
    verbose = server.client().audio.transcriptions.create(
        model=MODEL,
        file=("speech.mp3", file),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert error_rate(verbose.text, " ".join(SENTENCES)) <= 0.2
    assert verbose.duration == pytest.approx(len(recording) / RATE, abs=0.1)
    assert verbose.language == "english"
    assert verbose.words is not None
    assert verbose.segments is not None
    assert words(" ".join(word.word for word in verbose.words)) == words(verbose.text)
    times = [time for word in verbose.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= verbose.duration
    assert words(" ".join(segment.text for segment in verbose.segments)) == words(verbose.text)


def test_silence_has_no_text(server: Serving):
    silence = ("silence.wav", encoded(np.zeros(RATE * 40, np.float32), "wav"))
    create = server.client().audio.transcriptions.create
    assert create(model=MODEL, file=silence).text == ""
    assert create(model=MODEL, file=silence, response_format="srt") == ""
    assert create(model=MODEL, file=silence, response_format="vtt") == "WEBVTT\n\n"


def test_a_damaged_file_is_refused_and_the_model_stays_ready(server: Serving):
    for damaged in (b"no audio at all", np.random.default_rng(1).bytes(100_000)):
        with pytest.raises(openai.BadRequestError) as refused:
            server.client().audio.transcriptions.create(model=MODEL, file=("speech.mp3", damaged))
        assert refused.value.param == "file"
    assert server.readiness(MODEL)["ready"]


def test_a_killed_host_leaves_no_gap_in_a_stream(server: Serving, long_recording: bytes):
    client = server.client()
    whole = client.audio.transcriptions.create(model=MODEL, file=("speech.wav", long_recording)).text
    pid = server.host_pid(MODEL)
    stream = client.audio.transcriptions.create(model=MODEL, file=("speech.wav", long_recording), stream=True)
    text = ""
    for event in stream:
        if event.type == "transcript.text.delta":
            if not text:
                server.kill_host(signal.SIGKILL, MODEL)
            text += event.delta
    assert event.type == "transcript.text.done"
    assert event.text == text
    assert server.host_pid(MODEL) != pid
    assert error_rate(text, whole) <= 0.05
    assert server.metric("nacelle_resumed_total", model=MODEL) >= 1


def test_a_recording_that_kills_its_host_is_blamed_and_its_neighbour_completes(
    server: Serving, long_recording: bytes
):
    def post(file: bytes) -> httpx.Response:
        form, files = {"model": MODEL}, {"file": ("speech.wav", file)}
        return server.http.post("/v1/audio/transcriptions", data=form, files=files, timeout=LOADS_SECONDS)

    undisturbed = post(long_recording).json()["text"]
    deadly = encoded(speak(SENTENCES[0]), "wav", metadata=f"[[fault:segv]] {server.port}")
    with ThreadPoolExecutor(1) as pool:
        neighbour = pool.submit(post, long_recording)
        wait_for(server.running, "the neighbour is with the host")
        answer = post(deadly)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "engine_crashed")
        assert neighbour.result().json()["text"] == undisturbed
    again = post(deadly)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "request_blamed")


def test_a_client_that_leaves_frees_the_engine(server: Serving, long_recording: bytes):
    files = {"file": ("speech.wav", long_recording)}
    form = {"model": MODEL, "stream": "true"}
    url = f"{server.base_url}/v1/audio/transcriptions"
    with httpx.stream("POST", url, data=form, files=files, timeout=60) as answer:
        assert answer.status_code == 200
        next(answer.iter_lines())
    wait_for(lambda: server.running() == 0, "the engine is idle")
    outcome = {"route": "/v1/audio/transcriptions", "outcome": "client_gone"}
    wait_for(lambda: server.metric("nacelle_requests_total", **outcome) == 1, "it is reported")


def pcm_of(recording: Samples) -> bytes:
    """As OpenAI's sessions take it."""
    times = np.arange(0, len(recording) / RATE, 1 / PCM_RATE)
    samples = np.interp(times, np.arange(len(recording)) / RATE, recording)
    pcm: bytes = (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
    return pcm


async def hear(
    server: Serving, pcm: bytes, *, turns: dict[str, Any] | None, kill_after: int | None = None
) -> list[Any]:
    """Append audio as fast as the server takes it; the events up to the third transcript.

    The host is killed after as many chunks as `kill_after` says.
    """
    client = openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none")
    events: list[Any] = []
    async with client, client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        given: Any = {"transcription": {"model": MODEL, "language": "en"}, "turn_detection": turns}
        await connection.session.update(session={"type": "transcription", "audio": {"input": given}})
        for number, start in enumerate(range(0, len(pcm), CHUNK)):
            if number == kill_after:
                await asyncio.to_thread(server.kill_host, signal.SIGKILL, MODEL)
            audio = base64.b64encode(pcm[start : start + CHUNK]).decode()
            await connection.input_audio_buffer.append(audio=audio)
            if turns is None and start + CHUNK in cuts(len(pcm)):
                await connection.input_audio_buffer.commit()
        while sum(event.type.endswith("transcription.completed") for event in events) < len(SENTENCES):
            events.append(await asyncio.wait_for(connection.recv(), 60))
            assert not event_failed(events[-1]), events[-1]
    return events


def cuts(length: int) -> list[int]:
    """Where a client commits: three times, the last one at the end."""
    chunks = -(-length // CHUNK)
    return [chunks * part // 3 * CHUNK for part in (1, 2, 3)]


def event_failed(event: Any) -> bool:
    return bool(event.type == "error" or event.type.endswith(".failed"))


def transcripts(events: list[Any]) -> list[str]:
    return [event.transcript for event in events if event.type.endswith("transcription.completed")]


VAD = {"type": "server_vad", "silence_duration_ms": 600}


def turns_of(events: list[Any]) -> list[int]:
    """Where turns began and ended, in milliseconds."""
    started = [event.audio_start_ms for event in events if event.type.endswith("speech_started")]
    stopped = [event.audio_end_ms for event in events if event.type.endswith("speech_stopped")]
    return [time for turn in zip(started, stopped, strict=True) for time in turn]


def test_a_session_finds_the_sentences_and_outlives_its_engine_without_a_gap(
    server: Serving, recording: Samples
):
    pcm, said = pcm_of(recording), " ".join(SENTENCES)
    undisturbed = asyncio.run(hear(server, pcm, turns=VAD))
    assert error_rate(" ".join(transcripts(undisturbed)), said) <= 0.2
    turns = turns_of(undisturbed)
    assert turns == sorted(turns)
    assert len(turns) == 2 * len(SENTENCES)
    pid = server.host_pid(MODEL)
    killed = asyncio.run(hear(server, pcm, turns=VAD, kill_after=len(pcm) // CHUNK // 3))
    assert server.host_pid(MODEL) != pid
    assert turns_of(killed) == pytest.approx(turns, abs=64)
    assert error_rate(" ".join(transcripts(killed)), said) <= 0.2
    for events in (undisturbed, killed):
        committed = [event.item_id for event in events if event.type.endswith("committed")]
        assert committed == [event.item_id for event in events if event.type.endswith("completed")]


def test_a_session_without_turn_detection(server: Serving, recording: Samples):
    events = asyncio.run(hear(server, pcm_of(recording), turns=None))
    assert not any(event.type.endswith("speech_started") for event in events)
    seconds = [event.usage.seconds for event in events if event.type.endswith("transcription.completed")]
    assert sum(seconds) == pytest.approx(len(recording) / RATE, abs=0.1)
