"""Options of the batching engine on a real model in exact arithmetic."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.engines.adapters import adapted_layers, check_adapter
from host.engines.kv_cache import block_count, eviction
from host.errors import LaunchError
from host.model_folder import read_model_folder
from ipc.errors import ErrorCode
from ipc.kv_cache import KvShape, block_bytes, block_tokens
from ipc.messages import (
    Adapter,
    Delta,
    DraftModel,
    Fatal,
    Gauges,
    GenerationDefaults,
    PromptLookup,
)
from tests.host.harness import HostUnderTest, Outcome, chat, host_running, launch_of
from tests.models.altered import altered, blur_weights, write_adapter

COPYING = "alpha beta gamma delta. alpha beta gamma delta. alpha beta"
PROMPTS = ["Once upon a time", COPYING, "The capital of France is", "1 2 3 4"]
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 24}
SEEDED: dict[str, Any] = {"temperature": 0.8, "seed": 7, "max_tokens": 24}


@pytest.fixture(scope="module")
def plain(smollm2_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(launch_of(smollm2_ir)) as running:
        yield running


# --- speculative decoding -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def draft_ir(smollm2_ir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return altered(smollm2_ir, tmp_path_factory.mktemp("draft") / "ir", blur_weights)


@pytest.fixture(scope="module", params=["draft model", "prompt lookup"])
def host(smollm2_ir: Path, draft_ir: Path, request: pytest.FixtureRequest) -> Iterator[HostUnderTest]:
    if request.param == "draft model":
        draft = DraftModel(4, str(draft_ir), "CPU")
        launch = launch_of(smollm2_ir, speculation=draft, prefix_caching=False)
    else:
        launch = launch_of(smollm2_ir, speculation=PromptLookup(4, 3))
    with host_running(launch) as running:
        yield running


VARIANTS: list[dict[str, Any]] = [
    GREEDY,
    GREEDY | {"ignore_eos": True},
    GREEDY | {"presence_penalty": 1.0},
    GREEDY | {"repetition_penalty": 1.3},
]
ASKED = [(prompt, values) for prompt in PROMPTS for values in VARIANTS]


@pytest.fixture(scope="module")
def expected(plain: HostUnderTest) -> list[Outcome]:
    """What each of `ASKED` gives without speculation."""
    return plain.finish(*(plain.start(prompt, **values) for prompt, values in ASKED))


def test_a_batch_that_speculates_gives_the_texts_of_one_that_does_not(
    host: HostUnderTest, expected: list[Outcome]
) -> None:
    outcomes = host.finish(*(host.start(prompt, **values) for prompt, values in ASKED))
    assert [(o.token_ids, o.text) for o in outcomes] == [(o.token_ids, o.text) for o in expected]


def test_one_step_yields_several_tokens(host: HostUnderTest) -> None:
    seen = len(host.received)
    host.run(COPYING, **GREEDY)
    deltas = [message for message in host.received[seen:] if isinstance(message, Delta)]
    assert max(len(delta.token_ids) for delta in deltas) > 1


@pytest.mark.parametrize("max_tokens", [1, 3, 7])
def test_guesses_do_not_exceed_max_tokens(host: HostUnderTest, max_tokens: int) -> None:
    outcome = host.run(COPYING, temperature=0.0, max_tokens=max_tokens)
    assert (outcome.finish_reason, len(outcome.token_ids)) == ("length", max_tokens)


def test_min_tokens_holds_although_the_engine_counts_rejected_guesses(host: HostUnderTest) -> None:
    for least in (28, 30):  # the answer ends with its 27th token
        outcome = host.run("The capital of France is", temperature=0.0, max_tokens=40, min_tokens=least)
        assert len(outcome.token_ids) >= least


@pytest.mark.parametrize("values", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_a_text_goes_on_in_another_host(host: HostUnderTest, values: dict[str, Any]) -> None:
    whole = host.run("Once upon a time", **values)
    for cut in (2, 13):
        rest = host.run("Once upon a time", whole.token_ids[:cut], **values)
        assert rest.error is None
        assert rest.token_ids == whole.token_ids[cut:]
        assert rest.text and whole.text.endswith(rest.text)


def test_chance_differs_unless_seeded(host: HostUnderTest) -> None:
    def sample(**values: Any) -> str:
        return host.run("Once upon a time", temperature=1.0, max_tokens=12, **values).text

    assert len({sample() for _ in range(3)}) > 1
    assert sample(seed=0) == sample(seed=0) != sample(seed=1)


def test_a_bad_request_leaves_its_neighbours(host: HostUnderTest, expected: list[Outcome]) -> None:
    neighbours = [host.start(prompt, **GREEDY) for prompt in PROMPTS]
    guilty = host.start("bad [[fault:raise@2]]", **GREEDY)
    *outcomes, bad = host.finish(*neighbours, guilty)
    assert [outcome.text for outcome in outcomes] == [o.text for o in expected[:: len(VARIANTS)]]
    assert bad.error.code is ErrorCode.ENGINE_FAILED


def test_a_cancelled_request_leaves_the_engine(host: HostUnderTest) -> None:
    request = host.start(COPYING, temperature=0.0, max_tokens=4000, ignore_eos=True)
    host.wait(lambda: len(host.outcomes[request].token_ids) > 3)
    host.wait(lambda: host.gauges is not None and host.gauges.running == 1)
    host.cancel(request)
    host.wait(lambda: host.gauges is not None and host.gauges.running + host.gauges.waiting == 0, deadline=5)
    assert not host.outcomes[request].ended


# --- adapters; what they do to texts is in e2e/test_engine_options.py ------------------------------------


def fatal(path: Path, **changes: Any) -> str:
    host = HostUnderTest(launch_of(path, **changes))
    try:
        assert host.wait_exit() == 1
        return host.first(Fatal).reason
    finally:
        host.close()


def test_an_adapter_that_the_engine_would_pass_over_fails_the_load(smollm2_ir: Path, tmp_path: Path) -> None:
    reason = fatal(smollm2_ir, adapter=Adapter(str(write_adapter(tmp_path / "a.safetensors")), 1.0))
    assert "adapters need a model whose graph names its layers" in reason


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 9]
)
def test_a_file_that_is_no_adapter_fails_the_load(smollm2_ir: Path, tmp_path: Path, content: bytes) -> None:
    from host.engines.adapters import adapter_config

    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    with pytest.raises(LaunchError, match=r"the adapter .*a\.safetensors"):
        adapter_config(Adapter(str(file), 1.0), smollm2_ir / "openvino_model.xml")


def test_an_adapter_that_is_cut_off_fails_the_load(tmp_path: Path) -> None:
    file = write_adapter(tmp_path / "a.safetensors")
    assert len(adapted_layers(file)) == 30
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        LaunchError,
        match=r"a\.safetensors cannot be used: .* is incomplete: it has [\d,]+ of [\d,]+ bytes; download",
    ):
        adapted_layers(file)


def test_an_adapter_that_is_something_else_is_named_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(
        LaunchError, match=r"a\.safetensors cannot be used: .* a pointer of Git LFS; fetch the"
    ):
        adapted_layers(file)
    file.unlink()
    with pytest.raises(LaunchError, match=r"the adapter .*a\.safetensors is not a regular file"):
        adapted_layers(file)


@pytest.mark.parametrize("entry", [{}, {"shape": "x", "data_offsets": [0, 1]}, [], {"shape": [4, 2]}])
def test_an_adapter_whose_tensors_are_not_described_fails_the_load(tmp_path: Path, entry: object) -> None:
    header = json.dumps({"base_model.model.a.lora_A.weight": entry}).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(LaunchError, match=r"the adapter .*a\.safetensors"):
        adapted_layers(file)


@pytest.mark.parametrize(
    "shapes",
    [{"A": [4, 8]}, {"A": [4, 8], "B": [8, 2]}, {"A": [4], "B": [8]}],
    ids=["alone", "ranks", "vectors"],
)
def test_factors_that_do_not_fit_each_other_fail_the_load(
    tmp_path: Path, shapes: dict[str, list[int]]
) -> None:
    tensors = {
        f"base_model.model.a.lora_{side}.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
        for side, shape in shapes.items()
    }
    header = json.dumps(tensors).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(LaunchError, match=r"has no two LoRA factors of one rank for base_model"):
        adapted_layers(file)


@pytest.mark.parametrize(
    ("layer", "fits"),
    [
        ("base_model.model.model.layers.1.q_proj", True),
        ("base_model.model.model_layers_1_q_proj", True),
        ("base_model.model.model.layers.2.q_proj", False),
        ("model.layers.1.q_proj", False),  # the engine looks at no tensor without the prefix
    ],
)
def test_layers_are_matched_as_the_engine_does(layer: str, fits: bool) -> None:
    graph = ["__module.model.layers.1.q_proj/MatMul", "__module.model.layers.11.k_proj/MatMul"]
    try:
        check_adapter(Path("a"), {layer}, graph)
    except LaunchError:
        assert not fits
    else:
        assert fits


# --- KV cache -------------------------------------------------------------------------------------------


def test_a_draft_model_takes_its_share_of_the_kv_cache() -> None:
    shape = KvShape(layers=30, kv_heads=3, head_dim=64)
    alone = block_count(2**30, shape, "CPU", {})
    assert block_count(2**30, shape, "CPU", {}, block_bytes(shape, "CPU", {})) == alone // 2


@given(st.integers(0, 100_000), st.sampled_from(["CPU", "GPU.0"]))
def test_eviction_keeps_whole_blocks_of_each_kind(tokens: int, device: str) -> None:
    kept = eviction(tokens, device)
    assert all(part % block_tokens(device) == 0 and part > 0 for part in kept)
    assert kept.start + kept.recent < kept.most <= max(tokens, 4 * block_tokens(device))


def test_eviction_bounds_the_cache_of_a_long_answer(qwen3_ir: Path) -> None:
    block = block_bytes(read_model_folder(qwen3_ir).kv_shape, "CPU", {"KV_CACHE_PRECISION": "f32"})
    launch = launch_of(qwen3_ir, cache_eviction_tokens=160, kv_cache_bytes=32 * block, context_length=1024)
    with host_running(launch) as host:
        outcome = host.run("Once upon a time", temperature=0.0, max_tokens=300, ignore_eos=True)
        assert len(outcome.token_ids) == 300
        usage = [message.kv_usage for message in host.received if isinstance(message, Gauges)]
    assert 0 < max(usage) * 32 <= 160 / 32 + 2  # blocks: one that is being filled, one more at a step's end


# --- what the launch sets in place of the model's files ----------------------------------------------------


@pytest.fixture(scope="module")
def tiny(qwen3_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(launch_of(qwen3_ir)) as running:
        yield running


@pytest.fixture(scope="module")
def own(qwen3_ir: Path) -> Iterator[HostUnderTest]:
    defaults = GenerationDefaults(temperature=0.0, max_tokens=5)
    template = "{{ messages[0].content }}, there lived"
    with host_running(launch_of(qwen3_ir, generation_defaults=defaults, chat_template=template)) as running:
        yield running


def test_generation_defaults_count_where_a_request_says_nothing(
    tiny: HostUnderTest, own: HostUnderTest
) -> None:
    outcome = own.run("Once upon a time")
    assert len(outcome.token_ids) == 5
    assert outcome.text == tiny.run("Once upon a time", temperature=0.0, max_tokens=5).text


def test_a_request_wins_over_generation_defaults(own: HostUnderTest) -> None:
    texts = {own.run("Once upon a time", temperature=1.0, max_tokens=9).text for _ in range(3)}
    assert len(texts) > 1
    assert len(own.run("Once upon a time", max_tokens=9, ignore_eos=True).token_ids) == 9


def test_a_default_longer_than_the_context_is_no_error(qwen3_ir: Path) -> None:
    defaults = GenerationDefaults(temperature=0.0, max_tokens=100)
    with host_running(launch_of(qwen3_ir, generation_defaults=defaults, context_length=24)) as host:
        outcome = host.run("Once upon a time", ignore_eos=True)
        assert outcome.prompt_tokens is not None
        assert len(outcome.token_ids) == 24 - outcome.prompt_tokens


def test_a_given_chat_template_is_used(tiny: HostUnderTest, own: HostUnderTest) -> None:
    expected = tiny.run("Once upon a time, there lived", temperature=0.0, max_tokens=5).text
    assert own.run(chat("Once upon a time"), max_tokens=5).text == expected
