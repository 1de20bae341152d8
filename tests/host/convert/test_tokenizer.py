"""Tokenizers from a tokenizer.json: their token ids, and that what is not supported is named."""

import json
from typing import Any

import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.convert.errors import ConversionError
from host.convert.tokenizer import build_tokenizer
from host.convert.tokenizer_json import read_tokenizer_json
from tests.host.convert.tiny import WORDS, template, word_piece

XLM_ROBERTA = {
    "added_tokens": [{"id": number, "content": WORDS[number]} for number in range(4)],
    "normalizer": {"type": "NFKC"},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        ],
    },
    "post_processor": template("[CLS] A [SEP]", "[CLS] A [SEP] [SEP] B [SEP]"),
    "model": {
        "type": "Unigram",
        "unk_id": 1,
        "vocab": [
            *([word, 0.0] for word in WORDS[:4]),
            *(["▁", -5.0], ["▁a", -2.0], ["a", -3.0], ["b", -3.5], ["▁cat", -4.0], ["s", -4.5], ["fi", -5.0]),
        ],
    },
}


def tokenizer(source: dict[str, Any], texts: int = 1) -> Any:
    model = build_tokenizer(read_tokenizer_json(json.dumps(source).encode()), "[PAD]", 20, texts)
    return ov.Core().compile_model(model, "CPU")


@pytest.fixture(scope="module")
def bert() -> Any:
    return tokenizer(word_piece())


@pytest.fixture(scope="module")
def xlm_roberta() -> Any:
    return tokenizer(XLM_ROBERTA)


def ids(compiled: Any, *texts: str) -> list[int]:
    """The token ids of one text, or of a pair."""
    result: list[int] = run(compiled, *([text] for text in texts))["input_ids"][0].tolist()
    return result


def run(compiled: Any, *inputs: list[str]) -> Any:
    return compiled(dict(enumerate(inputs)))


CAT = WORDS.index("cat")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n ", []),
        ("cats. ab", ["cat", "##s", ".", "a", "##b"]),
        ("CÀTS", ["cat", "##s"]),
        ("日cat日", ["日", "cat", "日"]),
        ("µ", ["µ"]),
        ("c\u00adat", ["cat"]),
        ("c\ue000a\0t\ufffd", ["cat"]),
        ("dog", ["[UNK]"]),
        ("abbbb", ["a", "##b", "##b", "##b", "##b"]),
        ("abbbbb", ["[UNK]"]),
        ("abbbbb.x", ["[UNK]", ".", "x"]),
        ("a[SEP]b", ["a", "[SEP]", "b"]),
    ],
)
def test_words_become_their_longest_pieces(bert: Any, text: str, tokens: list[str]) -> None:
    expected = [WORDS.index(token) for token in ["[CLS]", *tokens, "[SEP]"]]
    assert ids(bert, text) == expected


def test_a_cased_model_keeps_its_case() -> None:
    source = word_piece()
    source["normalizer"] |= {"lowercase": False, "strip_accents": False, "clean_text": False}
    assert ids(tokenizer(source), "cat Cat") == [2, CAT, 1, 3]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("  ", []),
        ("cat", ["▁cat"]),
        ("  cat   a ", ["▁cat", "▁a"]),
        ("aab", ["▁a", "a", "b"]),
        ("cat\u00a0a", ["▁cat", "▁a"]),
        ("ﬁ", ["▁", "fi"]),
        ("zz a", ["▁", "[UNK]", "▁a"]),
    ],
)
def test_unigrams_are_the_most_likely_pieces(xlm_roberta: Any, text: str, tokens: list[str]) -> None:
    vocabulary = [word for word, _ in XLM_ROBERTA["model"]["vocab"]]  # type: ignore[index]
    expected = [vocabulary.index(token) for token in ["[CLS]", *tokens, "[SEP]"]]
    assert ids(xlm_roberta, text) == expected


@pytest.mark.parametrize(
    ("metaspace", "expected"),
    [
        ({"prepend_scheme": "always"}, [2, 5, 3]),
        ({"prepend_scheme": "never"}, [2, 6, 3]),
        ({"add_prefix_space": True}, [2, 5, 3]),
        ({"add_prefix_space": False}, [2, 6, 3]),
    ],
    ids=str,
)
def test_a_text_begins_with_a_space_if_the_file_says_so(
    metaspace: dict[str, Any], expected: list[int]
) -> None:
    source = XLM_ROBERTA | {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"} | metaspace}
    assert ids(tokenizer(source), "a") == expected


@pytest.mark.parametrize(
    ("source", "expected", "types"),
    [
        (word_piece(), [2, CAT, 3, 4, 9, 3], [0, 0, 0, 1, 1, 1]),
        (
            word_piece()
            | {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}},
            [2, CAT, 3, 4, 9, 3],
            [0, 0, 0, 1, 1, 1],
        ),
    ],
)
def test_a_pair_is_joined_by_its_template(
    source: dict[str, Any], expected: list[int], types: list[int]
) -> None:
    compiled = tokenizer(source, texts=2)
    assert ids(compiled, "cat", "a.") == expected
    assert run(compiled, ["cat"], ["a."])["token_type_ids"][0].tolist() == types


def test_one_text_meets_many() -> None:
    rows = run(tokenizer(word_piece(), texts=2), ["cat"], ["a", ".", ""])["input_ids"].tolist()
    assert rows == [[2, CAT, 3, 4, 3], [2, CAT, 3, 9, 3], [2, CAT, 3, 3, 0]]


def test_an_xlm_roberta_pair_has_two_separators() -> None:
    assert ids(tokenizer(XLM_ROBERTA, texts=2), "a", "cat") == [2, 5, 3, 3, 8, 3]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "BPE"),
        (
            {"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[?]"}},
            r"the vocabulary lacks '\[\?\]'",
        ),
        ({"model": {"type": "WordPiece", "vocab": {"a": -1}, "unk_token": "a"}}, "model"),
        (
            {"model": {"type": "WordPiece", "vocab": {"[PAD]": 9_000_000}, "unk_token": "[PAD]"}},
            "too far apart",
        ),
        ({"normalizer": {"type": "NFD"}}, "NFD"),
        ({"normalizer": None}, "normalizer"),
        ({"normalizer": {"type": "NFKC"}}, "only with BERT's other steps"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "only with BERT's other steps"),
        (
            {"post_processor": template("[CLS] A", "A [SEP] B") | {"special_tokens": {}}},
            "unknown SpecialToken",
        ),
        ({"post_processor": template("[CLS]", "A B")}, "each text once"),
        ({"post_processor": template("A A", "A B")}, "each text once"),
        ({"post_processor": template("A", "B A")}, "each text once"),
        ({"post_processor": None}, "post_processor"),
        ({"added_tokens": [{"id": 2**30, "content": "x"}]}, "added_tokens"),
        ({"added_tokens": []}, "added_tokens"),
    ],
)
def test_what_is_not_supported_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConversionError, match=rf"tokenizer\.json: .*{reason}"):
        tokenizer(word_piece() | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": {"type": "BertNormalizer"}}, "Unigram is not supported with BERT's normalizer"),
        ({"pre_tokenizer": {"type": "WhitespaceSplit"}}, "only with Metaspace"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}}, "only with Metaspace"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "%"}}, "precompiled_charsmap"),
        ({"normalizer": {"type": "Replace", "pattern": {"String": "x"}, "content": ""}}, "pattern"),
    ],
)
def test_what_a_unigram_model_does_not_support_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConversionError, match=rf"tokenizer\.json: .*{reason}"):
        tokenizer(XLM_ROBERTA | changes)


def test_a_padding_token_outside_of_the_vocabulary_is_named() -> None:
    source = read_tokenizer_json(json.dumps(XLM_ROBERTA).encode())
    with pytest.raises(ConversionError, match=r"lacks the padding token '<pad>'"):
        build_tokenizer(source, "<pad>", 20, 1)


SOURCE = json.dumps(XLM_ROBERTA).encode()


@given(st.integers(0, len(SOURCE) - 1), st.binary(min_size=1, max_size=6))
def test_a_damaged_file_raises_nothing_else(at: int, damage: bytes) -> None:
    try:
        source = read_tokenizer_json(SOURCE[:at] + damage + SOURCE[at + len(damage) :])
        build_tokenizer(source, "[PAD]", 20, 2)
    except ConversionError as error:
        assert str(error).startswith("tokenizer.json: ")
