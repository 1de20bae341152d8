"""Rerank in real hosts. No package ships a real reranker, so both models are stand-ins.

MiniLM in the shape of a cross-encoder ranks sensibly. A random tiny Qwen3 has scores that mean nothing, but
they can be computed independently.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest

from host.vectors.request import FloatArray
from ipc.errors import ErrorCode
from ipc.messages import Fatal, Ready, VectorCard
from tests.exact import EXACT, F32
from tests.host.harness import HostUnderTest, host_running
from tests.host.vectors.asking import error_of, rerank, start_embed, start_rerank, vector_launch

GENAI = 1e-3  # how far a score may be from GenAI's own pipeline
BATCH = 1e-4  # how far from the same pair's in a batch of another shape

CAPITAL = "What is the capital of France?"
DOCUMENTS = [
    "Paris is the capital and largest city of France.",
    "The Great Wall of China is very long.",
    "Bananas are rich in potassium.",
    "Berlin is the capital of Germany.",
]
WINDOW = 512  # of the cross-encoder

# As Qwen3-Reranker's page publishes it.
QWEN3 = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
    'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: {}\n<Query>: {}\n<Document>: {}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


@pytest.fixture(scope="module")
def cross(cross_encoder_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(vector_launch(cross_encoder_ir, "rerank", context_length=WINDOW)) as running:
        yield running


@pytest.fixture(scope="module")
def causal(causal_reranker_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(vector_launch(causal_reranker_ir, "rerank", properties=EXACT)) as running:
        yield running


@pytest.fixture(params=["cross", "causal"])
def host(request: pytest.FixtureRequest) -> HostUnderTest:
    found: HostUnderTest = request.getfixturevalue(request.param)
    return found


def distance(one: FloatArray, other: Any) -> float:
    return float(np.abs(one - np.asarray(other)).max())


# --- cross-encoders -----------------------------------------------------------------------------------


def test_a_cross_encoder_scores_as_genais_pipeline(cross: HostUnderTest, cross_encoder_ir: Path) -> None:
    config = genai.TextRerankPipeline.Config()
    config.top_n = len(DOCUMENTS)
    expected = dict(
        genai.TextRerankPipeline(cross_encoder_ir, "CPU", config, **F32).rerank(CAPITAL, DOCUMENTS)
    )
    found = rerank(cross, CAPITAL, DOCUMENTS)
    assert distance(found.values, [expected[index] for index in range(len(DOCUMENTS))]) < GENAI


@pytest.mark.parametrize(
    ("query", "best"),
    [(CAPITAL, 0), ("How long is the Chinese wall?", 1), ("Which fruit contains potassium?", 2)],
)
def test_the_right_document_scores_highest(cross: HostUnderTest, query: str, best: int) -> None:
    assert np.argmax(rerank(cross, query, DOCUMENTS).values) == best


def test_usage_counts_the_tokens_of_all_pairs(cross: HostUnderTest, cross_encoder_ir: Path) -> None:
    tokenizer = genai.Tokenizer(cross_encoder_ir)
    pairs = [tokenizer.encode([[CAPITAL, document]]).input_ids.data.size for document in DOCUMENTS]
    assert rerank(cross, CAPITAL, DOCUMENTS).prompt_tokens == sum(pairs)


def test_a_long_document_loses_its_end(cross: HostUnderTest) -> None:
    room = WINDOW - 3 - 7  # beside [CLS], two [SEP] and the query
    cut = rerank(cross, CAPITAL, ["a " * 1000, "a " * 100_000])
    assert cut.prompt_tokens == 2 * WINDOW
    fitting = rerank(cross, CAPITAL, ["a " * room])
    assert distance(cut.values, fitting.values[[0, 0]]) < BATCH
    shorter = rerank(cross, CAPITAL, ["a " * 1000], truncate=64)
    assert shorter.prompt_tokens == 64
    assert distance(shorter.values, rerank(cross, CAPITAL, ["a " * (64 - 3 - 7)]).values) < BATCH


# --- causal rerankers ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_model(causal_reranker_ir: Path) -> Any:
    """The causal model without any of our code."""
    return ov.Core().compile_model(causal_reranker_ir / "openvino_model.xml", "CPU", EXACT)


def yes_or_no(compiled: Any, tokenizer: Any, prompt: str) -> float:
    """The score by its definition: of one prompt without padding."""
    ids = tokenizer.encode(prompt).input_ids.data
    given = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(ids.shape[1])[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    request = compiled.create_infer_request()
    last = request.infer(given)[0][0, -1].astype(np.float64)
    no, yes = (int(tokenizer.encode(answer).input_ids.data[0, 0]) for answer in ("no", "yes"))
    return float(1 / (1 + np.exp(last[no] - last[yes])))


@pytest.mark.parametrize("instruction", ["", "Find what contradicts the query"])
def test_a_causal_reranker_scores_by_yes_and_no_after_its_template(
    causal: HostUnderTest, causal_reranker_ir: Path, plain_model: Any, instruction: str
) -> None:
    tokenizer = genai.Tokenizer(causal_reranker_ir)
    found = rerank(causal, CAPITAL, DOCUMENTS, instruction=instruction)
    prompts = [QWEN3.format(instruction or INSTRUCTION, CAPITAL, text) for text in DOCUMENTS]
    expected = [yes_or_no(plain_model, tokenizer, prompt) for prompt in prompts]
    assert distance(found.values, expected) < BATCH
    assert len(set(found.values.tolist())) == len(DOCUMENTS)


@pytest.mark.parametrize("document", ["", " ", "\nline", "?!", "1 2", "日本", "<Query>: x"])
def test_query_and_document_are_tokenized_as_one_text(
    causal: HostUnderTest, causal_reranker_ir: Path, document: str
) -> None:
    whole = genai.Tokenizer(causal_reranker_ir).encode(QWEN3.format(INSTRUCTION, CAPITAL, document))
    assert rerank(causal, CAPITAL, [document]).prompt_tokens == whole.input_ids.data.size


def test_the_turn_of_the_model_follows_a_document_that_was_cut(causal: HostUnderTest) -> None:
    whole = rerank(causal, CAPITAL, ["word " * 20, "word"])
    cut = rerank(causal, CAPITAL, ["word " * 20, "word"], max_document_tokens=1)
    assert cut.values[0] == pytest.approx(cut.values[1], abs=BATCH)
    assert cut.values[1] == pytest.approx(whole.values[1], abs=BATCH)
    assert cut.prompt_tokens < whole.prompt_tokens


# --- both ---------------------------------------------------------------------------------------------


def test_a_pair_has_the_same_score_alone_and_among_others(host: HostUnderTest) -> None:
    documents = [*DOCUMENTS, "", *("word " * count for count in range(1, 30))]
    together = rerank(host, CAPITAL, documents).values
    assert ((together >= 0) & (together <= 1)).all()
    for index in (0, 1, 4, 5, 33):
        assert distance(rerank(host, CAPITAL, [documents[index]]).values, together[index]) < BATCH


def test_each_document_may_have_a_query_of_its_own(host: HostUnderTest) -> None:
    queries = [CAPITAL, "How long is the Chinese wall?", "x", "y"]
    found = rerank(host, queries, DOCUMENTS).values
    expected = [rerank(host, query, [text]).values[0] for query, text in zip(queries, DOCUMENTS, strict=True)]
    assert distance(found, expected) < BATCH


def test_a_document_can_be_limited_to_its_first_tokens(host: HostUnderTest) -> None:
    cut = rerank(host, CAPITAL, ["word " * 500], max_document_tokens=5)
    assert distance(cut.values, rerank(host, CAPITAL, ["word word word word word"]).values) < BATCH


def test_a_pair_that_is_too_long_fails_unless_it_may_be_cut(host: HostUnderTest) -> None:
    ready: Ready[VectorCard] = host.first(Ready)
    window = ready.card.context_length
    refused = error_of(host, start_rerank(host, "q", ["a", "word " * window], truncate=None))
    assert (refused.code, refused.param) == (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "documents[1]")
    assert refused.message.startswith(f"This model's maximum context length is {window} tokens. However, ")
    refused = error_of(host, start_rerank(host, "word " * window, ["a"]))
    assert (refused.code, refused.param) == (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "query")
    refused = error_of(host, start_rerank(host, ["q", "word " * window], ["a", "b"]))
    assert refused.param == "queries[1]"


@pytest.mark.parametrize(
    ("queries", "documents", "options", "param"),
    [
        ("q", [], {}, "documents"),
        ([], ["a"], {}, "queries"),
        (["q", "r"], ["a", "b", "c"], {}, "queries"),
        ("q", ["a"], {"truncate": 1}, "truncate_prompt_tokens"),
        ("q", ["a"], {"truncate": 10**6}, "truncate_prompt_tokens"),
    ],
)
def test_a_bad_request_is_refused_with_the_field_at_fault(
    host: HostUnderTest, queries: Any, documents: list[str], options: dict[str, Any], param: str
) -> None:
    refused = error_of(host, start_rerank(host, queries, documents, **options))
    assert (refused.code, refused.param) == (ErrorCode.INVALID_VALUE, param)


def test_it_embeds_nothing(host: HostUnderTest) -> None:
    assert error_of(host, start_embed(host, ["a"])).param == "model"
    ready: Ready[VectorCard] = host.first(Ready)
    assert ready.card.dimensions == 0


def test_a_pass_that_raises_fails_only_the_request_that_caused_it(host: HostUnderTest) -> None:
    before = rerank(host, CAPITAL, DOCUMENTS).values
    healthy = start_rerank(host, CAPITAL, DOCUMENTS)
    failed = error_of(host, start_rerank(host, CAPITAL, [*DOCUMENTS, "[[fault:raise]]"]))
    assert failed.code is ErrorCode.ENGINE_FAILED
    host.wait(lambda: any(getattr(message, "request_id", None) == healthy for message in host.received))
    assert distance(rerank(host, CAPITAL, DOCUMENTS).values, before) < BATCH


# --- loading ------------------------------------------------------------------------------------------


def reason(launch: Any) -> str:
    host = HostUnderTest(launch)
    try:
        return host.first(Fatal).reason
    finally:
        host.close()


def test_a_model_that_cannot_rerank_is_a_clear_error(minilm_ir: Path, smollm2_ir: Path) -> None:
    assert "holds no reranker: its model has no output named logits" in reason(
        vector_launch(minilm_ir, "rerank")
    )
    assert "a language model of type llama cannot rerank; only Qwen3's can" in reason(
        vector_launch(smollm2_ir, "rerank")
    )


@pytest.mark.optimum
def test_optimum_gives_the_same_scores(cross: HostUnderTest, cross_encoder_ir: Path) -> None:
    expected = rerank(cross, CAPITAL, [*DOCUMENTS, "word " * 1000])
    launch = vector_launch(cross_encoder_ir, "rerank", context_length=WINDOW, library="optimum")
    with host_running(launch) as host:
        found = rerank(host, CAPITAL, [*DOCUMENTS, "word " * 1000])
    assert distance(found.values, expected.values) < 1e-3
    assert found.prompt_tokens == expected.prompt_tokens
