"""Requests with images, recordings and speech, and the reading of their answers."""

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench.cli import bench
from bench.client import Event, Response
from bench.errors import BadAnswer
from bench.forms import encode_form
from bench.load import Target, requests_of
from bench.pictures import data_urls, plain_png
from bench.recordings import read_recording, spoken_recordings, wav, wav_seconds
from bench.sentences import sentences, words_of
from bench.speech import SAMPLE_RATE, SpeechWorkload, read_record
from bench.stats import summarize
from bench.transcripts import TranscriptionWorkload, read_transcript
from bench.transcripts import read_record as read_heard
from bench.workload import Workload

TARGET = Target("http://x", "m")


def _serve(task: str, *arguments: str) -> Result:
    return CliRunner().invoke(
        bench, ["serve", "--base-url", "http://x", "--model", "m", "--task", task, *arguments]
    )


def _events(*events: dict[str, Any]) -> Response:
    found = [Event(1.0 + index, msgspec.json.encode(event)) for index, event in enumerate(events)]
    return Response(200, 0.5, 9.5, b"", found)


def test_an_image_is_a_png_of_one_colour():
    image = Image.open(io.BytesIO(plain_png(70, (200, 30, 7))))
    image.load()
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (70, 70))
    assert image.getcolors() == [(4900, (200, 30, 7))]


def test_each_vision_request_has_images_of_its_own():
    workload = Workload(requests=3, max_tokens=4, prompt_words=5, seed=1, images=2, image_size=8)
    requests = requests_of(TARGET, workload)
    urls = [
        part["image_url"]["url"]
        for body in requests.bodies
        for part in msgspec.json.decode(body)["messages"][0]["content"]
        if part["type"] == "image_url"
    ]
    assert len(urls) == len(set(urls)) == 6
    assert urls[:2] == data_urls(1, 0, 2, 8)


def test_sentences_have_the_words_asked_for_and_a_seed_fixes_them():
    found = sentences(1, 2, 50)
    assert found == sentences(1, 2, 50) != sentences(1, 3, 50)
    assert 50 <= sum(len(sentence.split()) for sentence in found) < 62
    assert all(sentence.endswith(".") for sentence in found)


def test_ten_sentences_begin_with_the_sentence_that_is_asked_for_alone():
    one = SpeechWorkload(1, 1, seed=3).texts()
    ten = SpeechWorkload(1, words_of(3, 0, 10), seed=3).texts()
    assert len(one[0]) == 1
    assert len(ten[0]) == 10
    assert ten[0][0] == one[0][0]


def test_recordings_are_spoken_and_exactly_as_long_as_asked():
    one, other = spoken_recordings(1, 2, 3.0)
    assert one.seconds == 3.0 == wav_seconds(one.data)
    assert [one, other] == spoken_recordings(1, 2, 3.0)
    assert one.data != other.data
    assert max(memoryview(one.data[44:]).cast("h")) > 3000  # it is not silence


def test_the_length_of_a_file_is_known_if_its_header_states_it(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(bytes(3200), 16_000))
    assert read_recording(path).seconds == 0.1
    path.write_bytes(wav(bytes(3200), 16_000)[:100])  # truncated, or streamed with open-ended sizes
    assert read_recording(path).seconds is None
    path.write_bytes(b"ID3")
    assert read_recording(path).seconds is None


def test_a_form_has_its_fields_and_its_file():
    body = encode_form({"model": "m"}, 'a"b.wav', b"\r\n--data")
    head, _, rest = body.partition(b'; filename="a_b.wav"\r\n')
    assert b'name="model"\r\n\r\nm\r\n' in head
    assert rest.partition(b"\r\n\r\n")[2].startswith(b"\r\n--data\r\n--")
    with pytest.raises(ValueError, match="boundary"):
        encode_form({}, "x", body)


def test_a_file_of_the_user_is_in_every_request(tmp_path: Path):
    path = tmp_path / "x.mp3"
    path.write_bytes(b"the music")
    requests = requests_of(TARGET, TranscriptionWorkload(requests=3, seed=0, audio=str(path)))
    assert requests.content_type.startswith("multipart/form-data; boundary=")
    assert len(requests.bodies) == 3
    assert all(b'filename="x.mp3"' in body and b"\r\n\r\nthe music\r\n" in body for body in requests.bodies)


def test_a_streamed_transcript_has_the_times_of_its_deltas_and_its_own_length():
    answer = _events(
        {"type": "transcript.text.delta", "delta": "One"},
        {"type": "transcript.text.delta", "delta": " two."},
        {"type": "transcript.text.done", "text": "One two.", "usage": {"type": "duration", "seconds": 6}},
    )
    record = read_heard(answer, None)
    assert (record.ttft, record.e2e, record.audio_seconds) == (0.5, 9.0, 6.0)
    assert read_heard(answer, 5.5).audio_seconds == 5.5
    summary = summarize([record])
    assert (summary.audio_seconds, summary.audio_seconds_per_second) == (6.0, 6.0 / 9.0)


def test_an_audio_length_that_no_answer_states_is_unknown():
    record = read_heard(Response(200, 0.0, 1.0, b'{"text": ""}', []), None)
    assert record.finish_reason == "empty"
    assert summarize([record]).audio_seconds is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(200, 0.0, 1.0, b'{"segments": []}', []), "malformed_answer"),
        (Response(200, 0.0, 1.0, b"text", []), "malformed_answer"),
        (_events({"type": "transcript.text.delta", "delta": "One"}), "truncated_stream"),
        (_events({"type": "error", "error": {"message": "no"}}), "stream_error"),
        (
            _events(
                {"type": "transcript.text.delta", "delta": "One"},
                {"type": "transcript.text.done", "text": "One two."},
            ),
            "inconsistent_stream",
        ),
    ],
)
def test_a_transcript_that_is_not_whole_is_a_failure(answer: Response, kind: str):
    with pytest.raises(BadAnswer) as caught:
        read_transcript(answer)
    assert caught.value.kind == kind


def test_speech_is_as_long_as_its_samples_and_begins_with_its_first_bytes():
    record = read_record(Response(200, 1.0, 5.0, bytes(2 * SAMPLE_RATE), [], 1.25))
    assert (record.ttft, record.e2e, record.audio_seconds) == (0.25, 4.0, 1.0)
    with pytest.raises(BadAnswer):
        read_record(Response(200, 1.0, 5.0, b"", []))


def test_speech_requests_ask_for_samples_of_whole_sentences():
    bodies = [msgspec.json.decode(body) for body in SpeechWorkload(2, 30, seed=1, voice="v").bodies("m")]
    assert {(body["model"], body["voice"], body["response_format"]) for body in bodies} == {("m", "v", "pcm")}
    assert bodies[0]["input"] != bodies[1]["input"]
    assert bodies[0]["input"].count(".") >= 3


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("text", ["--images", "2"]),
        ("vision", ["--prompt-tokens", "9"]),
        ("vision", ["--endpoint", "completions"]),
        ("vision", ["--voice", "alloy"]),
        ("transcription", ["--voice", "alloy"]),
        ("transcription", ["--prompt-words", "9"]),
        ("speech", ["--no-stream"]),
        ("speech", ["--max-tokens", "9"]),
        ("rerank", ["--encoding", "float"]),
    ],
)
def test_options_of_another_task_are_usage_errors(task: str, arguments: list[str]):
    result = _serve(task, *arguments)
    assert result.exit_code == 2
    assert f"{arguments[0].replace('no-', '')} does not apply to --task {task}" in result.output
