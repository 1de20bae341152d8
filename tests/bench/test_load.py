"""Workloads against real server processes."""

import sys
from typing import Any

import pytest

from bench.client import clock
from bench.completions import Endpoint
from bench.load import Target, run
from bench.server import Server, free_port
from bench.stats import summarize
from bench.workload import Workload
from tests.bench.conftest import START_SECONDS


def _workload(**changes: Any) -> Workload:
    fields: dict[str, Any] = {
        "requests": 12,
        "max_tokens": 20,
        "prompt_words": 4,
        "seed": 1,
        "concurrency": 3,
    }
    return Workload(**fields | changes)


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_every_token_of_a_stream_arrives_and_is_counted(bare: Server, endpoint: Endpoint) -> None:
    done = run(Target(bare.base_url, "m", endpoint=endpoint), _workload())
    summary = summarize(done.records)
    assert (summary.completed, summary.failures) == (12, {})
    assert summary.output_tokens == 12 * 20
    assert summary.counted_from == ["usage"]
    assert {len(record.arrivals) for record in done.records} == {20}
    assert summary.finish_reasons == {"length": 12}
    assert 0 < done.client_busy <= 1.5


def test_answers_that_are_not_streamed_are_counted_too(bare: Server) -> None:
    summary = summarize(run(Target(bare.base_url, "m", stream=False), _workload()).records)
    assert (summary.completed, summary.output_tokens, summary.ttft) == (12, 240, None)


def test_a_closed_loop_never_has_more_requests_in_flight_than_asked_for(bare: Server) -> None:
    records = run(Target(bare.base_url, "m"), _workload(requests=30, concurrency=3)).records
    for record in records:
        in_flight = sum(other.started <= record.started < other.finished for other in records)
        assert in_flight <= 3


def test_an_open_loop_sends_at_its_times_whoever_is_still_in_flight(bare: Server) -> None:
    workload = _workload(requests=20, request_rate=200.0)
    began = clock()
    records = sorted(run(Target(bare.base_url, "m"), workload).records, key=lambda record: record.started)
    planned = workload.arrivals()
    assert planned is not None
    for record, at in zip(records, planned, strict=True):
        assert record.started - began >= at - 0.002  # timers count milliseconds


def test_an_error_status_is_a_failure_that_quotes_the_server(bare: Server) -> None:
    summary = summarize(run(Target(bare.base_url + "/nowhere", "m"), _workload()).records)
    assert summary.failures == {"http_404": 12}
    assert "404" in summary.failure_details["http_404"]


def test_a_deadline_is_a_failure_of_its_own(bare: Server) -> None:
    endless = Target(bare.base_url, "m", deadline=0.05)
    summary = summarize(run(endless, _workload(requests=1, max_tokens=1_000_000)).records)
    assert summary.failures == {"deadline_exceeded": 1}


def test_a_server_that_has_gone_refuses_every_request() -> None:
    port = free_port()
    with Server([sys.executable, "-P", "-m", "bench.bare_sse", "--port", str(port)], port) as server:
        server.wait_for("/health", START_SECONDS)
    summary = summarize(run(Target(server.base_url, "m"), _workload()).records)
    assert summary.failures == {"connect_failed": 12}
