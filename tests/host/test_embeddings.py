"""Embeddings by real models in real hosts: all-MiniLM-L6-v2 and multilingual-e5-small."""

import base64
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest

import tests.models
from host.vectors.request import FloatArray
from ipc.errors import ErrorCode
from ipc.messages import Embed, Embedded, EmbedInputs, Fatal, Gauges, Generate, Ready, Sampling, VectorCard
from tests.exact import F32
from tests.host.harness import HostUnderTest, host_running
from tests.host.vectors.asking import embed, error_of, start_embed, vector_launch, vectors

GOLDEN = json.loads(Path(tests.models.__path__[0], "encoders_golden.json").read_text())
PYTORCH = 1e-3  # how far a value may be from PyTorch's, which computes with 32-bit weights
BATCH = 1e-5  # how far from the same input's in a batch of another shape

GUITAR = "A man is playing a guitar."
TEXTS = [GUITAR, "Someone plays a musical instrument.", "The stock market fell sharply today."]
WINDOW = 256  # of MiniLM


@pytest.fixture(scope="module")
def host(minilm_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(vector_launch(minilm_ir)) as running:
        yield running


@pytest.fixture(scope="module")
def e5(e5_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(vector_launch(e5_ir)) as running:
        yield running


@pytest.fixture(scope="module")
def wide(minilm_ir: Path) -> Iterator[HostUnderTest]:
    """MiniLM with all of its positions."""
    with host_running(vector_launch(minilm_ir, context_length=512)) as running:
        yield running


def card(host: HostUnderTest) -> VectorCard:
    ready: Ready[VectorCard] = host.first(Ready)
    return ready.card


def distance(one: FloatArray, other: FloatArray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


def golden(name: str) -> FloatArray:
    return np.array([np.frombuffer(base64.b64decode(vector), "<f4") for vector in GOLDEN[name]["vectors"]])


def hidden_states(folder: Path, text: str) -> FloatArray:
    """Of one text, without padding and without any of our code, of shape [tokens, dimensions]."""
    ids = genai.Tokenizer(folder).encode(text).input_ids.data
    compiled = ov.Core().compile_model(folder / "openvino_model.xml", "CPU", F32)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    states: FloatArray = compiled(given)[0][0]
    return states


def unit(vector: FloatArray) -> FloatArray:
    scaled: FloatArray = vector / np.linalg.norm(vector, axis=-1, keepdims=True)
    return scaled


# --- what they are ------------------------------------------------------------------------------------


def test_vectors_are_those_of_pytorch(wide: HostUnderTest, e5: HostUnderTest) -> None:
    for host, model in ((wide, "minilm"), (e5, "e5")):
        assert distance(embed(host, GOLDEN["embedded"], truncate=-1).values, golden(model)) < PYTORCH


def test_its_card_tells_what_it_can_do(host: HostUnderTest, e5: HostUnderTest) -> None:
    described = card(host)
    assert (described.dimensions, described.context_length, described.prompts) == (384, WINDOW, {})
    assert described.fingerprint.startswith("fp_")
    assert described.device_name
    assert described.slots >= 64
    assert card(e5).prompts == {"query": "query: ", "passage": "passage: "}


def test_usage_counts_the_tokens_that_the_model_sees(host: HostUnderTest, minilm_ir: Path) -> None:
    tokenizer = genai.Tokenizer(minilm_ir)
    expected = sum(tokenizer.encode(text).input_ids.data.size for text in TEXTS)
    assert embed(host, TEXTS).prompt_tokens == expected


def test_token_ids_are_embedded_as_their_text(host: HostUnderTest, minilm_ir: Path) -> None:
    encoded = genai.Tokenizer(minilm_ir).encode(GUITAR, add_special_tokens=False).input_ids.data
    by_ids = embed(host, EmbedInputs(token_ids=[encoded[0].tolist(), [1037]]))
    by_text = embed(host, [GUITAR, "a"])
    assert distance(by_ids.values, by_text.values) < BATCH
    assert by_ids.prompt_tokens == by_text.prompt_tokens


def test_a_prompt_precedes_texts_and_token_ids(host: HostUnderTest) -> None:
    prompted = embed(host, ["guitar"], prompt="a ")
    assert distance(prompted.values, embed(host, ["a guitar"]).values) < BATCH
    ids = [GOLDEN["minilm"]["token_ids"][GOLDEN["texts"].index("a")][1]]
    prompted = embed(host, EmbedInputs(token_ids=[ids]), prompt="the ")
    assert distance(prompted.values, embed(host, ["the a"]).values) < BATCH


def test_dimensions_cuts_vectors_and_normalizes_them_again(host: HostUnderTest) -> None:
    whole, cut = embed(host, TEXTS).values, embed(host, TEXTS, dimensions=64).values
    assert distance(cut, unit(whole[:, :64])) < BATCH
    assert distance(embed(host, TEXTS, dimensions=384).values, whole) < BATCH


def test_pooling_and_normalization_can_be_chosen(minilm_ir: Path) -> None:
    states = hidden_states(minilm_ir, GUITAR)
    with host_running(vector_launch(minilm_ir, pooling="cls", normalize=False)) as host:
        whole = embed(host, [GUITAR]).values[0]
        assert distance(whole, states[0]) < 1e-4
        assert distance(embed(host, [GUITAR], dimensions=64).values[0], whole[:64]) < BATCH
    with host_running(vector_launch(minilm_ir, pooling="last_token")) as host:
        assert distance(embed(host, TEXTS).values[0], unit(states[-1])) < 1e-4


# --- batches ------------------------------------------------------------------------------------------


def test_a_text_has_the_same_vector_alone_and_among_others(host: HostUnderTest) -> None:
    texts = [" ".join(["word"] * (1 + index % 40)) for index in range(100)] + TEXTS
    together = embed(host, texts).values
    for index in (0, 7, 39, 99, 100, 101, 102):
        assert distance(embed(host, [texts[index]]).values[0], together[index]) < BATCH


def test_requests_that_come_together_get_their_own_vectors(host: HostUnderTest) -> None:
    requests = [start_embed(host, [f"{TEXTS[index % 3]} {index}", "x"]) for index in range(40)]
    answers = [vectors(host, request_id).values for request_id in requests]
    for index in (0, 1, 2, 39):
        assert distance(embed(host, [f"{TEXTS[index % 3]} {index}"]).values[0], answers[index][0]) < BATCH
    assert all(distance(answer[1], answers[0][1]) < BATCH for answer in answers)


def test_a_request_of_2048_inputs_crosses_in_the_arena_while_a_short_one_passes(host: HostUnderTest) -> None:
    texts = ["word " * (1 + index % 5) + str(index) for index in range(2048)]
    large = start_embed(host, texts)
    host.wait(lambda: bool(host.gauges and host.gauges.running))
    embed(host, [GUITAR])
    assert not any(isinstance(m, Embedded) and m.request_id == large for m in host.received)
    found = vectors(host, large).values
    assert found.shape == (2048, 384)
    for index in (0, 1000, 2047):
        assert distance(embed(host, [texts[index]]).values[0], found[index]) < BATCH


def test_results_wait_for_room_in_the_arena(minilm_ir: Path) -> None:
    inputs = 200  # 300 kB of vectors
    launch = vector_launch(minilm_ir)
    with host_running(launch, result_bytes=512 * 1024) as host:
        host.withholds_releases = True
        first, second = (start_embed(host, ["a"] * inputs) for _ in range(2))
        vectors(host, first)
        embed(host, [GUITAR])  # what is small passes
        assert not any(isinstance(m, Embedded) and m.request_id == second for m in host.received)
        host.release_withheld()
        assert vectors(host, second).values.shape == (inputs, 384)
        refused = error_of(host, start_embed(host, ["a"] * 400))
        assert (refused.code, refused.param) == (ErrorCode.INVALID_VALUE, "input")
        assert refused.message.startswith("input: 400 results of 384 numbers take 614400 bytes, more than")
        assert embed(host, ["a"] * 400, dimensions=4).values.shape == (400, 4)


def test_a_cancelled_request_is_dropped_between_passes(host: HostUnderTest) -> None:
    cancelled = start_embed(host, ["word " * 200] * 1000)  # a minute of work
    host.wait(lambda: bool(host.gauges and host.gauges.running))
    host.cancel(cancelled)
    embed(host, [GUITAR])
    host.wait(lambda: host.gauges == Gauges(0, 0))
    assert not any(getattr(message, "request_id", None) == cancelled for message in host.received)


# --- what is refused ----------------------------------------------------------------------------------

INVALID, TOO_LONG = ErrorCode.INVALID_VALUE, ErrorCode.CONTEXT_LENGTH_EXCEEDED


@pytest.mark.parametrize(
    ("inputs", "options", "code", "param", "message"),
    [
        (EmbedInputs(), {}, INVALID, "input", "input must not be empty"),
        (["a", ""], {}, INVALID, "input[1]", "input[1] must not be empty"),
        (EmbedInputs(token_ids=[[5], []]), {}, INVALID, "input[1]", "input[1] must not be empty"),
        (
            EmbedInputs(token_ids=[[5], [5, 10**6]]),
            {},
            INVALID,
            "input[1]",
            "input[1]: token id 1000000 is outside the vocabulary of 30522",
        ),
        (
            EmbedInputs(token_ids=[[-3]]),
            {},
            INVALID,
            "input[0]",
            "input[0]: token id -3 is outside the vocabulary of 30522",
        ),
        (
            ["a", "word " * 300],
            {},
            TOO_LONG,
            "input[1]",
            "This model's maximum context length is 256 tokens. However, input[1] has 302 tokens.",
        ),
        (
            EmbedInputs(token_ids=[[5] * 255]),
            {},
            TOO_LONG,
            "input[0]",
            "This model's maximum context length is 256 tokens. However, input[0] has 257 tokens.",
        ),
        (
            ["x" * 3_000_000],
            {},
            TOO_LONG,
            "input[0]",
            "This model's maximum context length is 256 tokens. However, input[0] has 3000000 characters, of "
            "which at most 65536 are read.",
        ),
        (
            ["a"],
            {"dimensions": 385},
            INVALID,
            "dimensions",
            "dimensions must be between 1 and the model's 384",
        ),
        (["a"], {"dimensions": 0}, INVALID, "dimensions", "dimensions must be between 1 and the model's 384"),
        (
            ["a"],
            {"truncate": 257},
            INVALID,
            "truncate_prompt_tokens",
            "truncate_prompt_tokens must be -1 or between 3 and 256",
        ),
        (
            ["a"],
            {"truncate": 2},
            INVALID,
            "truncate_prompt_tokens",
            "truncate_prompt_tokens must be -1 or between 3 and 256",
        ),
    ],
)
def test_a_bad_request_is_refused_with_the_field_at_fault(
    host: HostUnderTest, inputs: Any, options: dict[str, Any], code: ErrorCode, param: str, message: str
) -> None:
    refused = error_of(host, start_embed(host, inputs, **options))
    assert (refused.code, refused.param, refused.message) == (code, param, message)


@pytest.mark.parametrize("payload", [b"\x91\x91\xa3\xed\xa0\x80", b"\x91\x91\xa2\xff\xfe"])
def test_text_that_is_no_unicode_is_refused(host: HostUnderTest, payload: bytes) -> None:
    refused = error_of(host, host.send(Embed(0, payload)))
    assert (refused.code, refused.param) == (INVALID, "input")


def test_it_generates_nothing(host: HostUnderTest) -> None:
    refused = error_of(host, host.send(Generate(0, b"", Sampling())))
    assert (refused.code, refused.param) == (INVALID, "model")


@pytest.mark.parametrize("truncate", [-1, 256, 16, 3])
def test_a_long_input_is_cut_where_that_is_asked_for(host: HostUnderTest, truncate: int) -> None:
    kept = (WINDOW if truncate == -1 else truncate) - 2  # beside the special tokens
    cut = embed(host, ["a " * 1000, "a " * 100_000], truncate=truncate)
    assert cut.prompt_tokens == 2 * (kept + 2)
    whole = embed(host, [" ".join(["a"] * kept)])
    assert distance(cut.values[:1], whole.values) < BATCH
    assert distance(cut.values[1:], whole.values) < BATCH


@pytest.mark.parametrize("text", ["\0", "a\0b", " ", "\n\t", "x" * 60_000, "\U0010ffff", "\ufffe", "[SEP]"])
def test_odd_texts_have_a_vector_and_harm_nobody(host: HostUnderTest, text: str) -> None:
    assert np.isfinite(embed(host, [text, GUITAR]).values).all()


# --- faults -------------------------------------------------------------------------------------------


def test_a_pass_that_raises_fails_only_the_request_that_caused_it(host: HostUnderTest) -> None:
    before = embed(host, TEXTS).values
    healthy = [start_embed(host, [text]) for text in TEXTS]
    guilty = start_embed(host, [TEXTS[0], "[[fault:raise]]"])
    healthy += [start_embed(host, [text]) for text in TEXTS]
    failed = error_of(host, guilty)
    assert (failed.code, failed.message) == (
        ErrorCode.ENGINE_FAILED,
        "the engine failed on this request",
    )
    found = np.concatenate([vectors(host, request_id).values for request_id in healthy])
    assert distance(found, np.concatenate((before, before))) < BATCH
    assert "a forward pass failed: " in host.stderr
    assert distance(embed(host, TEXTS).values, before) < BATCH


def test_a_host_that_dies_is_started_again_and_gives_the_same_vectors(minilm_ir: Path) -> None:
    with host_running(vector_launch(minilm_ir)) as host:
        before = embed(host, TEXTS).values
        start_embed(host, ["word " * 200] * 100)
        start_embed(host, ["[[fault:segv]]"])
        assert host.wait_exit() == -signal.SIGSEGV
    with host_running(vector_launch(minilm_ir)) as host:
        again = start_embed(host, TEXTS)
        host.drain()
        assert distance(vectors(host, again).values, before) < BATCH
        assert host.wait_exit() == 0, "a drained host answers what it has, and leaves"


def test_a_host_can_be_killed_in_the_middle_of_a_pass(minilm_ir: Path) -> None:
    with host_running(vector_launch(minilm_ir)) as host:
        start_embed(host, ["word " * 200] * 100)
        host.wait(lambda: bool(host.gauges and host.gauges.running))
        host.process.kill()
        assert host.wait_exit() == -signal.SIGKILL


# --- loading ------------------------------------------------------------------------------------------


def reason(launch: Any) -> str:
    host = HostUnderTest(launch)
    try:
        return host.first(Fatal).reason
    finally:
        host.close()


def test_a_folder_without_a_model_is_a_clear_error(tmp_path: Path, minilm_ir: Path) -> None:
    shutil.copy(minilm_ir / "config.json", tmp_path)
    missing = "openvino_model.xml, openvino_model.bin, openvino_tokenizer.xml, openvino_tokenizer.bin"
    assert reason(vector_launch(tmp_path)).endswith(f"{tmp_path} lacks {missing}")


def test_the_context_may_be_as_long_as_the_models_positions(wide: HostUnderTest, minilm_ir: Path) -> None:
    assert card(wide).context_length == embed(wide, ["a " * 510]).prompt_tokens == 512
    assert "a context of 600 tokens exceeds the model's 512 positions" in reason(
        vector_launch(minilm_ir, context_length=600)
    )


def test_modules_that_the_graph_lacks_are_a_clear_error(tmp_path: Path, minilm_ir: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm_ir, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    assert "export the model with `--library sentence_transformers`" in reason(vector_launch(folder))


def test_properties_and_threads_reach_openvino(minilm_ir: Path) -> None:
    launch = vector_launch(minilm_ir, threads=1, properties=F32 | {"PERFORMANCE_HINT": "LATENCY"})
    with host_running(launch) as host:
        assert distance(embed(host, GOLDEN["embedded"][:5]).values, golden("minilm")[:5]) < PYTORCH
    assert "NO_SUCH_PROPERTY" in reason(vector_launch(minilm_ir, properties={"NO_SUCH_PROPERTY": "1"}))


# --- Optimum ------------------------------------------------------------------------------------------


def test_without_the_extra_optimum_is_a_clear_error(minilm_ir: Path) -> None:
    assert "pip install 'nacelle-server[optimum]'" in reason(vector_launch(minilm_ir, library="optimum"))


@pytest.mark.optimum
@pytest.mark.parametrize("model", ["minilm", "e5"])
def test_optimum_gives_the_same_vectors(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"{model}_ir")
    texts = [*GOLDEN["embedded"][:5], *TEXTS]
    with host_running(vector_launch(folder)) as ours:
        expected = embed(ours, texts)
    with host_running(vector_launch(folder, library="optimum")) as host:
        found = embed(host, texts)
        failed = error_of(host, start_embed(host, ["[[fault:raise]]"]))
        assert failed.code is ErrorCode.ENGINE_FAILED
        assert distance(embed(host, texts).values, found.values) < BATCH
    assert distance(found.values, expected.values) < PYTORCH
    assert found.prompt_tokens == expected.prompt_tokens
