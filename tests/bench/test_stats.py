"""Figures from records: each against numbers worked out by hand."""

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import Distribution, RequestRecord, Slo, meets, parse_slo, percentile, summarize

_values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60)


def _record(**changes: Any) -> RequestRecord:
    """Sent at 10 s, text at 10.2, 10.3 and 10.6 s, whole at 10.7 s, five tokens."""
    fields: dict[str, Any] = {
        "started": 10.0,
        "finished": 10.7,
        "arrivals": [10.2, 10.3, 10.6],
        "prompt_tokens": 7,
        "output_tokens": 5,
        "finish_reason": "length",
    }
    return RequestRecord(**fields | changes)


def _failed(kind: str = "http_503", at: float = 10.0) -> RequestRecord:
    return RequestRecord(started=at, finished=at + 1, failure=kind, detail=f"because of {kind}")


def test_latencies_of_a_request_are_those_of_its_definition() -> None:
    record = _record()
    assert record.ttft == pytest.approx(0.2)
    assert record.tpot == pytest.approx(0.4 / 4)
    assert record.itl == pytest.approx([0.1, 0.3])
    assert record.e2e == pytest.approx(0.7)


def test_a_response_that_was_not_streamed_has_only_e2e() -> None:
    record = _record(arrivals=[])
    assert (record.ttft, record.tpot, record.itl) == (None, None, [])
    summary = summarize([record])
    assert (summary.ttft, summary.tpot, summary.itl) == (None, None, None)
    assert summary.e2e is not None
    assert summary.e2e.p50 == pytest.approx(700)


@given(_values)
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    ordered = sorted(values)
    for share in (1, 50, 90, 99):
        assert percentile(ordered, share / 100) == pytest.approx(cuts[share - 1], rel=1e-9, abs=1e-6)


def test_percentiles_of_one_value_are_that_value() -> None:
    assert [percentile([4.0], share) for share in (0, 0.5, 0.99, 1)] == [4.0] * 4


def test_a_run_is_timed_from_its_first_request_to_its_last_answer() -> None:
    summary = summarize([_record(), _record(started=11.0, finished=14.0, arrivals=[12.0, 13.0])])
    assert summary.duration == pytest.approx(4)
    assert summary.output_tokens == 10
    assert summary.output_tokens_per_second == pytest.approx(2.5)
    assert summary.requests_per_second == pytest.approx(0.5)
    assert summary.prompt_tokens == 14


def test_failures_are_counted_by_kind_and_leave_the_latencies_alone() -> None:
    alone = summarize([_record()])
    summary = summarize([_record(), _failed(), _failed(), _failed("connection_lost")])
    assert summary.failures == {"http_503": 2, "connection_lost": 1}
    assert summary.failure_details["connection_lost"] == "because of connection_lost"
    assert (summary.requests, summary.completed) == (4, 1)
    assert summary.ttft == alone.ttft
    assert summary.output_tokens == 5


def test_a_run_where_all_failed_still_has_a_summary() -> None:
    summary = summarize([_failed()], Slo(ttft=1))
    assert summary.output_tokens_per_second == 0
    assert summary.e2e is None
    assert summary.goodput is not None
    assert summary.goodput.share == 0


def test_a_run_without_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="without requests"):
        summarize([])


def test_prompt_tokens_are_unknown_where_one_answer_does_not_say() -> None:
    assert summarize([_record(), _record(prompt_tokens=None)]).prompt_tokens is None


def test_where_tokens_were_counted_is_said() -> None:
    summary = summarize([_record(), _record(counted_from="events")])
    assert summary.counted_from == ["events", "usage"]


def test_latencies_are_given_in_milliseconds() -> None:
    record = _record(started=0.0, finished=1.0, arrivals=[0.25])
    assert summarize([record]).ttft == Distribution(mean=250, p50=250, p90=250, p99=250)


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("ttft:200", Slo(ttft=200)),
        ("ttft:200,tpot:50.5", Slo(ttft=200, tpot=50.5)),
        ("e2e:4000,ttft:1,tpot:2", Slo(ttft=1, tpot=2, e2e=4000)),
    ],
)
def test_goodput_limits_are_read_from_text(text: str, slo: Slo) -> None:
    assert parse_slo(text) == slo


@pytest.mark.parametrize(
    "text", ["", "ttft", "ttft:", "ttft:x", "itl:4", "ttft:1,ttft:2", "ttft:0", "tpot:nan"]
)
def test_bad_goodput_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ttft|float|above 0"):
        parse_slo(text)


@pytest.mark.parametrize(
    ("slo", "good"),
    [
        (Slo(), True),
        (Slo(ttft=201), True),
        (Slo(ttft=199), False),
        (Slo(tpot=101), True),
        (Slo(tpot=99), False),
        (Slo(ttft=201, tpot=101, e2e=701), True),
        (Slo(ttft=201, tpot=101, e2e=699), False),
    ],
)
def test_a_request_is_good_if_it_meets_every_limit(slo: Slo, good: bool) -> None:
    assert meets(_record(), slo) is good


def test_a_failed_request_is_never_good() -> None:
    assert not meets(_failed(), Slo())


def test_a_limit_that_cannot_be_measured_is_not_met() -> None:
    assert not meets(_record(arrivals=[]), Slo(ttft=1000))
    assert not meets(_record(arrivals=[]), Slo(tpot=1000))


def test_a_single_token_has_no_time_per_further_token_to_miss() -> None:
    assert meets(_record(arrivals=[10.2], output_tokens=1), Slo(tpot=1))


def test_goodput_is_a_share_of_all_requests_failed_ones_included() -> None:
    slow = _record(arrivals=[10.6, 10.7])
    goodput = summarize([_record(), slow, _failed(), _failed()], Slo(ttft=300)).goodput
    assert goodput is not None
    assert goodput.share == pytest.approx(0.25)
    assert goodput.requests_per_second == pytest.approx(1 / 1.0)
