"""Kokoro-82M, a real model, reads aloud over the API, and its host dies in the middle of a text."""

import http.client
import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import av
import openai
import pytest

from bench.chaos_trial import settings_file
from tests.e2e.serving import Serving, wait_for

MODEL = "kokoro"
SECONDS = 300.0  # for a request, on a machine that is busy
FAST = 2.0  # half of the audio to compute
SHORT = "Good morning."
LONG = "This is the first one. Here is number 2, **my friend**. The third is the last."


@pytest.fixture(scope="module")
def server(kokoro_ir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    settings = tmp_path_factory.mktemp("settings") / "nacelle.toml"
    settings.write_text(settings_file({MODEL: str(kokoro_ir)}))
    with Serving(["--config", str(settings)], [], {}) as serving:
        yield serving.wait_until_ready(MODEL)


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client.with_options(timeout=SECONDS)


def seconds_of(data: bytes) -> float:
    with av.open(io.BytesIO(data), "r") as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def test_a_host_that_dies_in_mid_answer_is_not_heard(server: Serving, client: openai.OpenAI):
    """Byte for byte: the model is deterministic, and a WAV holds each sample."""
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, input=LONG, voice="alloy", response_format="wav", speed=FAST
    ) as streamed:
        undisturbed = b"".join(streamed.iter_bytes())
    pid = server.host_pid(MODEL)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    body = {"model": MODEL, "input": LONG, "voice": "alloy", "response_format": "wav", "speed": FAST}
    connection.request("POST", "/v1/audio/speech", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    received = response.read1(2**20)  # of the first sentence, while the second is computed
    os.kill(pid, signal.SIGKILL)
    received += response.read()
    connection.close()
    assert received == undisturbed
    assert server.metric("nacelle_resumed_total", model=MODEL) == 1
    wait_for(lambda: server.readiness(MODEL)["ready"], "a new host", SECONDS)
    assert server.host_pid(MODEL) != pid


def test_every_container_holds_the_same_sentence(client: openai.OpenAI):
    seconds = {}
    for audio_format in ("mp3", "opus", "aac", "flac"):
        answer = client.audio.speech.create(
            model=MODEL, input=SHORT, voice="nova", response_format=audio_format, speed=FAST
        )
        seconds[audio_format] = seconds_of(answer.content)
    assert 0.4 < seconds["flac"] < 2
    assert all(abs(length - seconds["flac"]) < 0.1 for length in seconds.values())


def test_what_cannot_be_read_aloud_is_a_bad_request(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match="no words to read aloud"):
        client.audio.speech.create(model=MODEL, input="😀 ***", voice="alloy")
    with pytest.raises(openai.BadRequestError, match="Japanese"):
        client.audio.speech.create(model=MODEL, input="Hello.", voice="jf_alpha")
