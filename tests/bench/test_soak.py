"""The figures of a soak, and how its answers are read."""

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from bench.chaos_traffic import Answer
from bench.chaos_trial import Answered
from bench.client import Response
from bench.completions import Said
from bench.errors import BadAnswer, ConnectionLost
from bench.kills import Kill
from bench.soak_report import charts, descriptors, faults, growth, results, summary, theil_sen
from bench.soak_run import EndpointCount, Soak, SoakSample, note
from bench.soak_traffic import other_lanes, read_batch, read_message, read_responses


def answer(body: object) -> Response:
    return Response(200, 1.0, 3.0, msgspec.json.encode(body), [])


def soak(memory: list[float], open_files: list[int] | None = None) -> Soak:
    """Samples of every half minute."""
    counts = open_files or [40] * len(memory)
    samples = [
        SoakSample(30.0 * i, mib, counts[i], 500, 300, 10 * i, 0, i, i, 0.1, 0.2)
        for i, mib in enumerate(memory)
    ]
    return Soak(
        30.0 * len(memory),
        {"text": EndpointCount(10, latencies=[0.1, 0.2])},
        samples=samples,
        kills=[Kill(20.0, "SIGKILL", 0, "bench")],
        recoveries=[2.0],
    )


def test_the_slope_ignores_outliers() -> None:
    points = [(float(x), 3.0 * x) for x in range(20)]
    points[7] = (7.0, 900.0)
    assert theil_sen(points) == pytest.approx(3.0)
    assert theil_sen([(1.0, 2.0)]) is None


@pytest.mark.parametrize(("per_sample", "is_fault"), [(0.4, False), (0.6, True)])
def test_memory_that_grows_after_the_warm_up_is_a_fault(per_sample: float, is_fault: bool) -> None:
    found = soak([20.0 * i for i in range(5)] + [100 + per_sample * i for i in range(15)])
    assert growth(found, lambda sample: sample.frontend) == pytest.approx(2 * per_sample)
    assert any("MiB a minute" in fault for fault in faults(found)) == is_fault


def test_descriptors_may_vary_but_not_grow() -> None:
    varying = soak([100.0] * 16, [40, 37] * 8)
    assert descriptors(varying) == (40, 37)
    assert faults(varying) == []
    leaking = soak([100.0] * 16, list(range(40, 56)))
    assert any("descriptors grew" in fault for fault in faults(leaking))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"other_deaths": 1}, "nobody killed"),
        ({"orphans": 1}, "left behind"),
        ({"left_in_shm": ["psm_1"]}, "/dev/shm"),
        ({"blamed": 1}, "blamed"),
        ({"recoveries": []}, "without a recovery"),
        ({"endpoints": {"text": EndpointCount(5, failed=1)}}, "1 requests failed"),
        ({"endpoints": {"text": EndpointCount(5, wrong=2)}}, "2 requests failed"),
        ({"endpoints": {"text": EndpointCount()}}, "text got no answer"),
    ],
)
def test_what_must_not_happen_is_a_fault(change: dict, word: str) -> None:
    [fault] = faults(msgspec.structs.replace(soak([100.0] * 8), **change))
    assert word in fault


def test_answers_are_counted_as_right_wrong_or_failed() -> None:
    lane = next(lane for lane in other_lanes("m", 4, seed=0) if lane.task == "messages")
    expected: dict[str, list[Answer]] = {"messages": [Said("one", 1, "max_tokens")]}
    found = Soak(60.0)
    recent: list[float] = []
    body = {"content": [{"type": "text", "text": "one"}], "stop_reason": "max_tokens"}
    for outcome in (
        answer(body | {"usage": {"output_tokens": 1}}),
        answer(body | {"usage": {"output_tokens": 2}}),
        ConnectionLost("gone"),
    ):
        note(found, Answered(lane, 0, outcome), expected, recent)
    count = found.endpoints["messages"]
    assert (count.done, count.wrong, count.failed, recent) == (3, 1, 1, [2.0])
    assert sum(found.failures.values()) == 2


def test_texts_are_read_from_each_kind_of_answer() -> None:
    said = answer(
        {
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
            "usage": {"output_tokens": 2},
        }
    )
    assert read_responses(said) == Said("hi", 2, "completed")
    with pytest.raises(BadAnswer):
        read_message(answer({"type": "error", "error": {"message": "no"}}))
    line = {"custom_id": "0", "response": {"body": {"choices": [{"message": {"content": "hi"}}]}}}
    assert read_batch(msgspec.json.encode(line)) == [("0", "hi")]
    with pytest.raises(BadAnswer):
        read_batch(b'{"custom_id": "0", "response": null}')


def test_the_summary_links_pictures_that_are_xml() -> None:
    found = results(soak([100.0] * 8), {"bench": "smollm2"}, 24, 1, 20.0)
    pictures = charts(found)
    for picture in pictures.values():
        ET.fromstring(picture)
    text = summary(found, [Path(f"run.{name}.svg") for name in pictures])
    assert "| verdict | passed |" in text
    assert "![memory](run.memory.svg)" in text
    assert "| text | 10 | 0 | 0 | 0.150 s |" in text
