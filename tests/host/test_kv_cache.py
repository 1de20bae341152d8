"""KV cache sizes, against what the real pipeline allocates."""

from pathlib import Path
from typing import Any

import openvino_genai as genai
import pytest

from host.engines.kv_cache import block_count
from host.model_folder import read_model_folder
from ipc.kv_cache import KvShape, block_bytes, block_tokens

SMOLLM2 = KvShape(layers=30, kv_heads=3, head_dim=64)


def test_a_block_is_as_large_as_the_pipeline_makes_it(smollm2_ir: Path) -> None:
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = 8
    pipeline = genai.ContinuousBatchingPipeline(smollm2_ir, scheduler, "CPU")
    handle = pipeline.add_request(1, "hello", genai.GenerationConfig(max_new_tokens=2))
    pipeline.step()
    shape = read_model_folder(smollm2_ir).kv_shape
    assert shape == SMOLLM2
    assert pipeline.get_metrics().kv_cache_size_in_bytes == 8 * block_bytes(shape, "CPU", {})
    handle.cancel()


@pytest.mark.parametrize(
    ("device", "properties", "expected"),
    [
        ("CPU", {}, 437_760),  # measured
        ("CPU", {"KV_CACHE_PRECISION": "f32"}, 1_474_560),  # measured
        ("CPU", {"KV_CACHE_PRECISION": "bf16"}, 737_280),
        ("GPU.0", {}, 368_640),
    ],
)
def test_the_precision_decides_the_size(device: str, properties: dict[str, str], expected: int) -> None:
    assert block_bytes(SMOLLM2, device, properties) == expected


def test_a_model_of_unknown_shape_gets_few_blocks() -> None:
    known: Any = block_count(2**30, KvShape(layers=80, kv_heads=8, head_dim=128), "CPU", {})
    unknown = block_count(2**30, None, "CPU", {})
    assert 0 < unknown < known
    assert unknown * block_tokens("CPU") >= 2048


def test_even_a_tiny_budget_buys_one_block() -> None:
    assert block_count(1, SMOLLM2, "CPU", {}) == 1
