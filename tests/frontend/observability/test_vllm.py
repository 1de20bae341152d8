"""vLLM's metrics: the same numbers as ours, and what is counted once per sequence."""

import re
import subprocess
from typing import get_args

import pytest

from frontend.observability.metrics import Metrics
from frontend.observability.vllm import CacheConfig, EndedSequence, FinishedReason
from tests.frontend.routing.hosts import History

# What the endpoint picker of the Gateway API inference extension reads of vLLM, and of which labels.
PICKER = {
    "vllm:num_requests_waiting": set(),
    "vllm:num_requests_running": set(),
    "vllm:kv_cache_usage_perc": set(),
    "vllm:cache_config_info": {"block_size", "num_gpu_blocks"},
}

INTERACTIVE = {"class": "interactive"}


def vllm(metrics: Metrics, name: str, **labels: str) -> float | None:
    labels = {"model_name": "m", "engine": "0", **labels}
    return metrics.vllm_registry.get_sample_value(f"vllm:{name}", labels)


def ours(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"nacelle_{name}", {"model": "m", **labels})


def everything() -> Metrics:
    """Metrics in which every family has a series."""
    metrics = Metrics()
    model = metrics.of_model("m")
    replica = model.of_replica(0)
    replica.leased_bytes("request")
    replica.state("ready")
    replica.restarts("hang")
    for each in (model.audio_seconds, model.spoken_seconds, model.time_to_first_audio):
        each()
    model.queue_wait("interactive")
    model.loads("loaded")
    model.unloads("idle")
    model.kv_cache(CacheConfig(32, 100))
    metrics.registry_state(True, 1, 1.0)
    metrics.requests.labels("/v1/models", "200", "ok")
    metrics.http_seconds.labels("/v1/models")
    metrics.http_bytes.labels("/v1/models")
    metrics.variant_requests.labels("v", "m", "ok")
    return metrics


def test_gauges_are_sums_over_the_replicas_and_the_queue():
    metrics = Metrics()
    model = metrics.of_model("m")
    for number, (running, waiting, usage) in enumerate([(2, 1, 0.25), (3, 0, 0.75)]):
        replica = model.of_replica(number)
        replica.running.set(running)
        replica.waiting.set(waiting)
        replica.kv_usage.set(usage)
    model.queued.set(4)
    assert vllm(metrics, "num_requests_running") == 5
    assert vllm(metrics, "num_requests_waiting") == 5
    assert vllm(metrics, "kv_cache_usage_perc") == vllm(metrics, "gpu_cache_usage_perc") == 0.5


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("prompt_tokens_total", "prompt_tokens_total"),
        ("generation_tokens_total", "generated_tokens_total"),
        ("time_to_first_token_seconds_sum", "time_to_first_token_seconds_sum"),
        ("inter_token_latency_seconds_count", "inter_token_seconds_count"),
        ("time_per_output_token_seconds_sum", "inter_token_seconds_sum"),
        ("e2e_request_latency_seconds_count", "request_seconds_count"),
        ("request_queue_time_seconds_count", "queue_wait_seconds_count"),
    ],
)
def test_twins_have_the_same_values(name, twin):
    history = History()
    history.ask("a")
    history.now += 0.25
    history.accept()
    history.step()
    history.now += 0.5
    history.step()
    history.complete()
    labels = INTERACTIVE if "queue" in twin else {}
    assert vllm(history.all_metrics, name) == ours(history.all_metrics, twin, **labels)
    assert ours(history.all_metrics, twin, **labels)


def test_a_buckets_bound_stays_where_it_is():
    metrics = Metrics()
    metrics.of_model("m").time_to_first_token.observe(0.3)
    bucket = "time_to_first_token_seconds_bucket"
    assert (vllm(metrics, bucket, le="0.25"), vllm(metrics, bucket, le="0.5")) == (0, 1)


def test_a_complete_sequence_is_counted_once_with_its_lengths_and_times():
    history = History()
    history.ask("a")
    history.now += 1.0
    history.accept()
    history.step()
    history.now += 2.0
    history.step()
    history.complete()
    metrics = history.all_metrics
    assert vllm(metrics, "request_success_total", finished_reason="stop") == 1
    assert vllm(metrics, "request_prompt_tokens_sum") == 10
    assert vllm(metrics, "request_generation_tokens_sum") == 2
    assert vllm(metrics, "request_prefill_time_seconds_sum") == 1.0
    assert vllm(metrics, "request_decode_time_seconds_sum") == 2.0
    assert vllm(metrics, "request_inference_time_seconds_sum") == 3.0
    assert vllm(metrics, "request_time_per_output_token_seconds_sum") == 2.0
    assert vllm(metrics, "prefix_cache_queries_total") == 10


def test_time_in_the_queue_ends_when_the_first_host_gets_the_sequence():
    history = History(slots=1)
    history.ask("first")
    history.accept()
    history.ask("a")
    history.now += 3.0
    history.complete()
    assert history.holds()[-1] == "a"
    assert ours(history.all_metrics, "queue_wait_seconds_sum", **INTERACTIVE) == 3.0
    history.accept()
    history.die()
    history.now += 5.0
    history.ready_again()
    assert ours(history.all_metrics, "queue_wait_seconds_count", **INTERACTIVE) == 2


def test_a_client_that_leaves_is_an_abort_and_a_blamed_sequence_an_error():
    history = History()
    stream = history.ask("a")
    history.accept()
    history.step()
    stream.close()
    assert vllm(history.all_metrics, "request_success_total", finished_reason="abort") == 1
    history.ask("b")
    for _ in range(3):
        history.accept()
        history.die()
        history.ready_again()
    assert vllm(history.all_metrics, "request_success_total", finished_reason="error") == 1
    assert vllm(history.all_metrics, "request_prompt_tokens_count") == 0


def test_a_choice_that_the_frontend_ends_has_stopped():
    history = History()
    stream = history.ask("a")
    history.accept()
    history.step()
    stream.end(0, 1)
    assert vllm(history.all_metrics, "request_success_total", finished_reason="stop") == 1
    assert vllm(history.all_metrics, "request_success_total", finished_reason="abort") == 0


def test_labels_that_vllm_does_not_have_are_summed_over():
    metrics = Metrics()
    for kind in ("interactive", "batch"):
        metrics.of_model("m").queue_wait(kind).observe(1.0)
    assert vllm(metrics, "request_queue_time_seconds_count") == 2
    assert vllm(metrics, "request_queue_time_seconds_bucket", le="1.0") == 2
    (described,) = re.findall(r"# HELP vllm:request_queue_time_seconds (.+)", metrics.render().decode())
    assert "class" not in described


def test_every_reason_has_a_series_from_the_start():
    metrics = Metrics()
    metrics.of_model("m")
    for reason in get_args(FinishedReason):
        assert vllm(metrics, "request_success_total", finished_reason=reason) == 0


def test_found_tokens_are_counted_even_of_an_aborted_sequence():
    metrics = Metrics()
    ended = EndedSequence("abort", 0.0, 1.0, 1.0, prompt_tokens=100, cached_tokens=64, generated_tokens=1)
    metrics.of_model("m").ended(ended)
    assert vllm(metrics, "prefix_cache_queries_total") == 100
    assert vllm(metrics, "prefix_cache_hits_total") == 64


def test_the_series_of_a_model_that_is_removed_end():
    metrics = everything()
    assert b'model_name="m"' in metrics.render("vllm")
    metrics.forget_model("m")
    assert b'"m"' not in metrics.render("vllm")


@pytest.mark.parametrize("name", PICKER)
def test_an_endpoint_picker_finds_what_it_reads(name):
    text = everything().render().decode()
    (series,) = re.findall(rf"^{name}\{{([^}}]*)\}} ", text, re.MULTILINE)
    labels = set(re.findall(r'(\w+)="', series))
    assert labels == {"model_name", "engine"} | PICKER[name]


def test_names_can_be_asked_for_alone():
    metrics = everything()
    assert b"vllm:" not in metrics.render("nacelle")
    assert b"nacelle_" not in metrics.render("vllm")
    assert metrics.render() == metrics.render("nacelle") + metrics.render("vllm")


def promtool(*arguments: str, text: bytes = b"") -> str:
    run = subprocess.run(["promtool", *arguments], input=text, capture_output=True, check=False)
    return (run.stdout + run.stderr).decode()


@pytest.mark.promtool
def test_promtool_finds_nothing_in_our_metrics():
    assert promtool("check", "metrics", text=everything().render("nacelle")) == ""


@pytest.mark.promtool
def test_promtool_finds_only_the_colons_of_vllm_in_the_rest():
    lines = promtool("check", "metrics", text=everything().render()).splitlines()
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"vllm:\w+ metric names should not.*':'", line)]
