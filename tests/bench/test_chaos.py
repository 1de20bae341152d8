"""The plan of kills, the comparison of answers, and the picture."""

import array
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter

import msgspec
import pytest
from click.testing import CliRunner

from bench.chaos import chaos
from bench.chaos_traffic import TOLERANCE, Answer, Lane, vector_lane
from bench.chaos_trial import Answered, Trial, judge, settings_file
from bench.client import Event, Response
from bench.completions import Said, read_text
from bench.errors import ConnectionLost
from bench.kills import SIGNALS, Kill, Samples, plan, quantile, total
from bench.timeline import rates, svg

TEXT = Lane("text", "/chat", [], read_text)
EMBEDDINGS = vector_lane("embeddings", "m", seed=1)
RERANK = vector_lane("rerank", "m", seed=1)
EXPECTED: dict[str, list[Answer]] = {
    "text": [Said("one two three", 3, "length"), Said("uno dos", 2, "length")],
    "embeddings": [[[0.5, -0.25], [1.0, 0.0]]],
    "rerank": [[[0.75], [0.125]]],
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
    assert not Trial(1, left_in_shm=1).flawless


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
