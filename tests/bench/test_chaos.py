"""The plan of kills, the comparison of answers, and the picture."""

import array
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter

import msgspec
import pytest
from click.testing import CliRunner

from bench.chaos import chaos
from bench.chaos_traffic import (
    SAMPLE_TOLERANCE,
    TIME_TOLERANCE,
    TOLERANCE,
    Answer,
    Lane,
    realtime_lane,
    recordings_of,
    speech_lane,
    transcription_lanes,
    vector_lane,
    vision_lanes,
)
from bench.chaos_trial import Answered, Trial, judge, settings_file
from bench.client import Event, Response
from bench.completions import Said, read_text
from bench.errors import ConnectionLost
from bench.forms import CONTENT_TYPE
from bench.kills import SIGNALS, Kill, Samples, plan, quantile, total
from bench.recordings import wav, wav_seconds
from bench.speech import SAMPLE_RATE
from bench.timeline import rates, svg
from bench.transcripts import Heard, Span

TEXT = Lane("text", "/chat", [], read_text)
EMBEDDINGS = vector_lane("embeddings", "m", seed=1)
RERANK = vector_lane("rerank", "m", seed=1)
SPEECH = speech_lane("m", seed=1)
TRANSCRIPTION, STREAMED_TRANSCRIPTION = transcription_lanes("m", recordings_of([b"\1\0"]))
TIMES = [(0.0, 1.5), (2.0, 3.0)]
EXPECTED: dict[str, list[Answer]] = {
    "text": [Said("one two three", 3, "length"), Said("uno dos", 2, "length")],
    "embeddings": [[[0.5, -0.25], [1.0, 0.0]]],
    "rerank": [[[0.75], [0.125]]],
    "speech": [array.array("h", [0, 100, -100]).tobytes()],
    "transcription": [
        Heard("One. Two.", [Span(*TIMES[0], "One."), Span(*TIMES[1], "Two.")], 3.0),
    ],
}


def whole(text: str, tokens: int, reason: str = "length") -> Response:
    body = {
        "choices": [{"message": {"content": text}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": tokens},
    }
    return Response(200, 0.0, 1.0, msgspec.json.encode(body), [])


def streamed(*pieces: str, done: bool = True) -> Response:
    chunks: list[dict] = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "length"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": len(pieces)}})
    data = [msgspec.json.encode(chunk) for chunk in chunks] + [b"[DONE]"] * done
    return Response(200, 0.0, 1.0, b"", [Event(0.1 * i, body) for i, body in enumerate(data)])


def embedded(*vectors: list[float], encoded: bool = False) -> Response:
    data = [
        {"index": i, "embedding": array.array("f", v).tobytes() if encoded else v}
        for i, v in enumerate(vectors)
    ]
    return Response(200, 0.0, 1.0, msgspec.json.encode({"data": data}), [])


def ranked(*scores: tuple[int, float]) -> Response:
    results = [{"index": index, "relevance_score": score} for index, score in scores]
    return Response(200, 0.0, 1.0, msgspec.json.encode({"results": results}), [])


def spoken(*samples: int, as_wav: bool = False) -> Response:
    raw = array.array("h", samples).tobytes()
    return Response(200, 0.0, 1.0, wav(raw, SAMPLE_RATE) if as_wav else raw, [], 0.5)


def heard(*texts: str, times: list[tuple[float, float]] = TIMES) -> Response:
    segments = [
        {"id": index, "start": start, "end": end, "text": f" {text}"}
        for index, ((start, end), text) in enumerate(zip(times, texts, strict=True))
    ]
    body = {"text": " ".join(texts), "segments": segments, "duration": 3.0}
    return Response(200, 0.0, 1.0, msgspec.json.encode(body), [])


def heard_in_pieces(*deltas: str, text: str | None = "One. Two.") -> Response:
    events: list[dict] = [{"type": "transcript.text.delta", "delta": delta} for delta in deltas]
    if text is not None:
        events.append({"type": "transcript.text.done", "text": text})
    return Response(200, 0.0, 1.0, b"", [Event(0.1, msgspec.json.encode(event)) for event in events])


def judged(*answers, lane: Lane = TEXT) -> Trial:
    trial = Trial(1, kills=[Kill(2.0, "SIGKILL", 0)])
    judge(trial, [Answered(lane, index, outcome) for index, outcome in answers], EXPECTED, 0.0)
    return trial


def test_a_seed_fixes_the_order_and_each_signal_comes_as_often_as_asked():
    assert plan(3, seed=1) == plan(3, seed=1) != plan(3, seed=2)
    assert Counter(plan(3, seed=1)) == dict.fromkeys(SIGNALS, 3)


def test_equal_answers_are_flawless_whether_streamed_or_not():
    trial = judged((0, whole("one two three", 3)), (1, streamed("uno", " dos")))
    assert (trial.sent, trial.failed, trial.wrong) == (2, 0, 0)
    assert trial.flawless


@pytest.mark.parametrize(
    "answer",
    [
        whole("one two", 3),  # truncated
        whole("one two two three", 3),  # doubled
        whole("one two tree", 3),  # different
        whole("one two three", 4),  # counted twice
        whole("one two three", 3, "stop"),
        streamed("one", " two"),
    ],
)
def test_an_answer_that_differs_is_wrong(answer):
    trial = judged((0, answer))
    assert trial.wrong == 1
    assert not trial.flawless


@pytest.mark.parametrize("answer", [ConnectionLost("gone"), streamed("one", " two", " three", done=False)])
def test_an_answer_that_does_not_come_whole_has_failed(answer):
    trial = judged((0, answer))
    assert (trial.failed, trial.wrong) == (1, 0)
    assert sum(trial.failures.values()) == 1


@pytest.mark.parametrize(
    ("lane", "answer"),
    [
        (EMBEDDINGS, embedded([0.5, -0.25], [1.0, TOLERANCE / 2])),
        (EMBEDDINGS, embedded([0.5, -0.25], [1.0, 0.0], encoded=True)),
        (RERANK, ranked((1, 0.125), (0, 0.75))),
    ],
)
def test_vectors_and_scores_within_the_tolerance_are_flawless(lane, answer):
    trial = judged((0, answer), lane=lane)
    assert trial.flawless
    assert trial.sent_by_task == {lane.task: 1}


@pytest.mark.parametrize(
    ("lane", "answer"),
    [
        (EMBEDDINGS, embedded([0.5, -0.25], [1.0, 2 * TOLERANCE])),
        (EMBEDDINGS, embedded([1.0, 0.0], [0.5, -0.25])),  # another input's
        (EMBEDDINGS, embedded([0.5, -0.25], [1.0, float("nan")], encoded=True)),
        (EMBEDDINGS, embedded([0.5, -0.25])),
        (EMBEDDINGS, embedded([0.5], [1.0])),
        (RERANK, ranked((0, 0.125), (1, 0.75))),
        (RERANK, ranked((0, 0.75))),
    ],
)
def test_vectors_and_scores_that_differ_are_wrong(lane, answer):
    trial = judged((0, answer), lane=lane)
    assert trial.wrong == 1
    assert not trial.flawless


@pytest.mark.parametrize(
    ("lane", "answer"),
    [
        (SPEECH, spoken(0, 100, -100)),
        (SPEECH, spoken(0, 100, -100, as_wav=True)),
        (SPEECH, spoken(0, 100 + SAMPLE_TOLERANCE, -100)),
        (TRANSCRIPTION, heard("One.", "Two.")),
        (TRANSCRIPTION, heard("One.", "Two.", times=[(0.0, 1.5 + TIME_TOLERANCE / 2), (2.0, 3.0)])),
        (STREAMED_TRANSCRIPTION, heard_in_pieces("One.", " Two.")),
    ],
)
def test_speech_and_transcripts_that_are_the_same_are_flawless(lane, answer):
    trial = judged((0, answer), lane=lane)
    assert (trial.failures, trial.differences) == ({}, [])
    assert trial.flawless


@pytest.mark.parametrize(
    ("lane", "answer"),
    [
        (SPEECH, spoken(0, 100, -100, 0, 100, -100)),  # repeated
        (SPEECH, spoken(0, 100)),
        (SPEECH, spoken(0, 101 + SAMPLE_TOLERANCE, -100)),
        (TRANSCRIPTION, heard("One.", times=TIMES[:1])),
        (TRANSCRIPTION, heard("One.", "Two.", times=[(0.0, 1.5), (2.0, 3.0 + 2 * TIME_TOLERANCE)])),
        (TRANSCRIPTION, heard("One. Two.", times=TIMES[:1])),
        (STREAMED_TRANSCRIPTION, heard_in_pieces("One.", text="One.")),
    ],
)
def test_speech_and_transcripts_that_differ_are_wrong(lane, answer):
    trial = judged((0, answer), lane=lane)
    assert (trial.wrong, trial.failed) == (1, 0)


@pytest.mark.parametrize(
    ("lane", "answer"),
    [
        (SPEECH, Response(200, 0.0, 1.0, b"", [])),
        (SPEECH, Response(200, 0.0, 1.0, b"odd", [])),
        (STREAMED_TRANSCRIPTION, heard_in_pieces("One.", " Two.", text=None)),
        (STREAMED_TRANSCRIPTION, heard_in_pieces("One.", " Two.", " Two.")),  # unlike the text at the end
    ],
)
def test_speech_and_transcripts_that_are_not_whole_have_failed(lane, answer):
    trial = judged((0, answer), lane=lane)
    assert (trial.wrong, trial.failed) == (0, 1)


def test_recordings_hold_all_that_was_spoken_in_different_orders():
    first, second = recordings_of([b"ab", b"cdef"])
    assert (first.data[44:], second.data[44:]) == (b"abcdef", b"cdefab")
    assert wav_seconds(first.data) == 3 / SAMPLE_RATE


def test_lanes_ask_for_the_same_answer_in_two_ways():
    assert TRANSCRIPTION.content_type == CONTENT_TYPE
    assert b"verbose_json" in TRANSCRIPTION.bodies[0]
    assert b'name="stream"\r\n\r\ntrue' in STREAMED_TRANSCRIPTION.bodies[0]
    formats = [msgspec.json.decode(body)["response_format"] for body in SPEECH.bodies[:2]]
    assert formats == ["pcm", "wav"]
    whole, streamed_lane = vision_lanes("m", 8, seed=1)
    asked, asked_again = (msgspec.json.decode(lane.bodies[0]) for lane in (whole, streamed_lane))
    assert asked["messages"] == asked_again["messages"]
    assert [part["type"] for part in asked["messages"][0]["content"]] == ["image_url", "text"]
    assert len(set(whole.bodies)) == len(whole.bodies)


def test_sessions_are_compared_by_their_words():
    lane = realtime_lane("m", [b"ab", b"cdef"])
    assert len(lane.bodies) == 2
    body = msgspec.json.encode(["One,  two.", "It's three!"])
    assert lane.read(Response(200, 0.0, 1.0, body, [])) == Said("one two it s three", None, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--transcription", "w"], "--speech MODEL"),
        (["--speech", "s", "--transcription", "w", "--clients", "5"], "at least 6"),
    ],
)
def test_traffic_that_cannot_be_made_is_a_usage_error(arguments, reason):
    result = CliRunner().invoke(chaos, ["m", *arguments])
    assert result.exit_code == 2
    assert reason in result.output


def test_results_that_leave_out_an_index_have_failed():
    assert judged((0, ranked((0, 0.75), (2, 0.125))), lane=RERANK).failed == 1


def test_models_get_names_and_paths_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "smollm2").mkdir()  # is not what the catalogue's name means
    monkeypatch.chdir(tmp_path)
    written = tomllib.loads(settings_file({"bench": "smollm2", "rerank": "./folder"}))
    assert written["models"] == [
        {"name": "bench", "source": "smollm2"},
        {"name": "rerank", "source": str(tmp_path / "folder")},
    ]


def test_what_is_left_behind_is_no_flawless_run():
    assert not Trial(1, orphans=1).flawless
    assert not Trial(1, left_in_shm=["psm_1"]).flawless


def test_rates_count_the_tokens_of_each_bin():
    assert rates([0.1, 0.2, 0.6, 1.9, 5.0], 0.0, 2.0, 0.5) == [4.0, 2.0, 0.0, 2.0]


def test_the_picture_is_xml_that_marks_every_kill():
    sent = [Kill(1.0 + i, number.name, 0) for i, number in enumerate(SIGNALS)]
    root = ET.fromstring(svg("a <title> & more", [1.0, 5.0, 0.0, 3.0], 0.5, sent, 0.0))
    marks = [node for node in root.iter() if node.get("class") == "kill"]
    assert len(marks) == len(SIGNALS)
    assert "a <title> & more" in "".join(root.itertext())


def test_metrics_are_summed_by_label_and_quantiles_interpolated():
    samples: Samples = {
        ("runs", (("replica", "0"),)): 2.0,
        ("runs", (("replica", "1"),)): 3.0,
        ("t_bucket", (("le", "1.0"),)): 2.0,
        ("t_bucket", (("le", "3.0"),)): 4.0,
        ("t_bucket", (("le", "+Inf"),)): 4.0,
    }
    assert total(samples, "runs") == 5
    assert total(samples, "runs", replica="1") == 3
    assert quantile(samples, "t", 0.5) == 1.0
    assert quantile(samples, "t", 0.75) == 2.0
    other = {
        ("t_bucket", (("le", "1.0"), ("model", "m"))): 9.0,
        ("t_bucket", (("le", "+Inf"), ("model", "m"))): 9.0,
    }
    assert quantile(samples | other, "t", 0.5, model="m") == 0.5
    assert quantile({}, "t", 0.5) is None


def test_the_help_says_whose_hosts_are_killed():
    text = CliRunner().invoke(chaos, ["--help"]).output
    assert "only that server's hosts" in " ".join(text.split())
