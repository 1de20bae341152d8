"""The raw pipeline, and pairs of pipelines, with a tiny model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.engine import launch_like_a_server
from bench.engine_process import EngineProcess
from bench.errors import EngineFailed
from bench.gains import gain, with_property, without_speculation
from bench.stats import summarize
from bench.workload import Workload
from ipc.huge_pages import setting
from tests.huge_pages import in_huge_pages, kernel_gives_them


@pytest.fixture(scope="module")
def raw(qwen3_ir: Path) -> Iterator[EngineProcess]:
    with EngineProcess(launch_like_a_server(str(qwen3_ir))) as process:
        yield process


def _workload(**changes: Any) -> Workload:
    fields: dict[str, Any] = {"requests": 5, "max_tokens": 6, "prompt_words": 8, "seed": 1, "concurrency": 2}
    return Workload(**fields | {"ignore_eos": True} | changes)


def test_a_closed_loop_finishes_every_request_with_all_its_tokens(raw: EngineProcess) -> None:
    records = raw.run(_workload())
    summary = summarize(records)
    assert (summary.completed, summary.output_tokens, summary.counted_from) == (5, 30, ["engine"])
    assert summary.finish_reasons == {"length": 5}
    assert summary.prompt_tokens is not None
    assert summary.prompt_tokens >= 5 * 8
    for record in records:
        assert sum(other.started <= record.started < other.finished for other in records) <= 2


def test_a_process_runs_one_workload_after_another(raw: EngineProcess) -> None:
    assert summarize(raw.run(_workload(prompt_tokens=40, requests=2))).prompt_tokens == 80
    assert summarize(raw.run(_workload(max_tokens=1, requests=3))).output_tokens == 3


def test_a_model_that_cannot_be_loaded_is_reported(qwen3_ir: Path) -> None:
    launch = launch_like_a_server(str(qwen3_ir))
    launch.device = "NO_SUCH_DEVICE"
    with pytest.raises(EngineFailed, match="status 1"):
        EngineProcess(launch)


def test_speculative_decoding_is_compared_with_plain_on_the_same_prompts(qwen3_ir: Path) -> None:
    launch = launch_like_a_server(str(qwen3_ir), prompt_lookup=True)
    workload = _workload(requests=1, max_tokens=4, concurrency=1, copies=2)
    found = gain(launch, without_speculation(launch), workload, pairs=2)
    assert len(found.pairs) == 2
    assert all(pair.ours > 0 and pair.yardstick > 0 for pair in found.pairs)


def test_a_property_is_compared_with_another_value_of_it(qwen3_ir: Path) -> None:
    launch = launch_like_a_server(str(qwen3_ir))
    matched = with_property(launch, "DYNAMIC_QUANTIZATION_GROUP_SIZE", "auto")
    assert "DYNAMIC_QUANTIZATION_GROUP_SIZE" not in launch.properties
    found = gain(matched, launch, _workload(requests=1, max_tokens=4, concurrency=1), pairs=1)
    assert found.ratio > 0


def test_huge_pages_are_compared_with_small_ones(qwen3_ir: Path) -> None:
    launch = launch_like_a_server(str(qwen3_ir))
    with EngineProcess(launch) as plain, EngineProcess(launch, in_huge_pages=True) as ours:
        for process in (plain, ours):
            process.run(_workload())
        if kernel_gives_them() and setting() == "madvise":
            assert in_huge_pages(ours.pid) > in_huge_pages(plain.pid)
    found = gain(launch, launch, _workload(requests=1, max_tokens=4), pairs=1, in_huge_pages=True)
    assert found.ratio > 0


def test_copies_repeat_the_words_of_each_prompt() -> None:
    once, thrice = _workload().prompts(), _workload(copies=3).prompts()
    assert thrice == [f"{text} {text} {text}" for text in once]
