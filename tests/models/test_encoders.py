"""The catalogue's encoders, converted without PyTorch, against PyTorch; and the stand-ins for rerankers.

encoders_golden.json holds texts and what transformers 5.5.4 and PyTorch 2.13.0 made of them: token ids, and
vectors (mean of the last hidden states, normalized; float32, little-endian, base64).
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino_genai as genai
import pytest

from frontend.models.resolve import check_ir_folder
from tests.exact import F32

GOLDEN = json.loads(Path(__file__).with_name("encoders_golden.json").read_text())
CAPITAL = "What is the capital of France?"
DOCUMENTS = [
    "Paris is the capital and largest city of France.",
    "The Great Wall of China is very long.",
    "Bananas are rich in potassium.",
    "Berlin is the capital of Germany.",
]


@pytest.fixture(params=["minilm", "e5"])
def encoder(request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any]]:
    return request.getfixturevalue(f"{request.param}_ir"), GOLDEN[request.param]


def test_token_ids_are_those_of_hugging_faces_tokenizer(encoder: tuple[Path, dict[str, Any]]) -> None:
    folder, golden = encoder
    tokenizer = genai.Tokenizer(folder)
    found = [tokenizer.encode(text).input_ids.data[0].tolist() for text in GOLDEN["texts"]]
    wrong = {
        text: (ids, expected)
        for text, ids, expected in zip(GOLDEN["texts"], found, golden["token_ids"], strict=True)
        if ids != expected
    }
    assert not wrong


def test_a_batch_is_padded_and_special_tokens_can_be_left_out(encoder: tuple[Path, dict[str, Any]]) -> None:
    folder, golden = encoder
    tokenizer = genai.Tokenizer(folder)
    texts = GOLDEN["texts"][:3] + GOLDEN["texts"][-3:]
    batch, plain = tokenizer.encode(texts), tokenizer.encode(texts, add_special_tokens=False)
    for row, expected in enumerate(golden["token_ids"][:3] + golden["token_ids"][-3:]):
        length = batch.attention_mask.data[row].sum()
        assert batch.input_ids.data[row][:length].tolist() == expected
        assert not batch.attention_mask.data[row][length:].any()
        length = plain.attention_mask.data[row].sum()
        assert plain.input_ids.data[row][:length].tolist() == expected[1:-1]


def test_vectors_are_those_of_pytorch(encoder: tuple[Path, dict[str, Any]]) -> None:
    folder, golden = encoder
    pipeline = genai.TextEmbeddingPipeline(
        folder,
        "CPU",
        pooling_type=genai.TextEmbeddingPipeline.PoolingType.MEAN,
        normalize=True,
        max_length=512,
        **F32,
    )
    found = np.array(pipeline.embed_documents(GOLDEN["embedded"]))
    expected = np.array([np.frombuffer(base64.b64decode(vector), "<f4") for vector in golden["vectors"]])
    assert np.abs(found - expected).max() < 1e-3
    assert (found * expected).sum(axis=1).min() > 0.9999


def test_the_catalogues_encoders_are_recognized(minilm_ir: Path, e5_ir: Path) -> None:
    assert check_ir_folder(minilm_ir).task == "embeddings"
    assert check_ir_folder(e5_ir).task == "embeddings"


@pytest.mark.parametrize("name", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
def test_the_files_of_sentence_transformers_stand_beside_the_model(encoder: Any, name: str) -> None:
    assert json.loads((encoder[0] / name).read_text())


def test_e5_states_its_prompts(e5_ir: Path) -> None:
    stated = json.loads((e5_ir / "config_sentence_transformers.json").read_text())
    assert stated["prompts"] == {"query": "query: ", "passage": "passage: "}


# --- the stand-ins ----------------------------------------------------------------------------------------


def rerank(folder: Path, query: str, documents: list[str]) -> list[float]:
    """A score for each document."""
    config = genai.TextRerankPipeline.Config()
    config.top_n = len(documents)
    scores = dict(genai.TextRerankPipeline(folder, "CPU", config, **F32).rerank(query, documents))
    return [scores[index] for index in range(len(documents))]


def test_the_cross_encoder_stand_in_scores_as_the_same_graph_in_pytorch(cross_encoder_ir: Path) -> None:
    assert check_ir_folder(cross_encoder_ir).task == "rerank"
    scores = rerank(cross_encoder_ir, CAPITAL, DOCUMENTS)
    assert np.abs(np.array(scores) - [0.66083, 0.03403, 0.02310, 0.14771]).max() < 1e-3


@pytest.mark.parametrize(
    ("query", "best"),
    [(CAPITAL, 0), ("How long is the Chinese wall?", 1), ("Which fruit contains potassium?", 2)],
)
def test_the_cross_encoder_stand_in_finds_the_right_document(
    cross_encoder_ir: Path, query: str, best: int
) -> None:
    assert np.argmax(rerank(cross_encoder_ir, query, DOCUMENTS)) == best


def test_the_causal_reranker_stand_in_is_recognized_and_scores_each_document(
    causal_reranker_ir: Path,
) -> None:
    assert check_ir_folder(causal_reranker_ir).task == "rerank"
    scores = rerank(causal_reranker_ir, CAPITAL, DOCUMENTS)
    assert len(set(scores)) == len(DOCUMENTS)
    assert all(0 <= score <= 1 for score in scores)
