"""What `nacelle bench fuzz` and `bench hostile` measure: nothing may pass because it was not measured."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import RunFailed
from bench.fuzz import Found, Sample, largest_pss_mib, restarts_in
from bench.hostile import running_in
from frontend.observability.metrics import Metrics

OK = b"HTTP/1.1 200 OK\r\n\r\n"


def test_growth_is_the_slope_after_the_warm_up():
    samples = [Sample(at, done=at * 10, frontend=100 + at / 60 * 3, largest_host=0) for at in range(100)]
    samples[:20] = [Sample(0, done=0, frontend=5, largest_host=0)] * 20
    assert Found(samples=samples).growth(requests=1000) == pytest.approx(3)


def test_each_run_counts_its_own_statuses():
    Found().statuses[200] += 1
    assert not Found().statuses


def test_a_host_that_has_ended_does_not_end_the_measurement():
    hosts = [SimpleNamespace(pid=0), SimpleNamespace(pid=os.getpid())]
    server: Any = SimpleNamespace(hosts=lambda: hosts)
    assert largest_pss_mib(server) > 1


def test_restarts_are_those_of_the_metric_that_the_server_has():
    metrics = Metrics()
    assert restarts_in(metrics.render("all").decode()) == 0
    metrics.of_model("m").of_replica(0).restarts("crash").inc(2)
    assert restarts_in(metrics.render("all").decode()) == 2
    with pytest.raises(RunFailed):
        restarts_in("")


def test_running_requests_that_are_not_reported_are_not_zero():
    assert running_in(OK + b'vllm:num_requests_running{model_name="m"} 2.0\n') == 2
    for answer in (OK, b"HTTP/1.1 503 Overloaded\r\n\r\nnacelle_requests_running 0\n"):
        with pytest.raises(ConnectionError):
            running_in(answer)
