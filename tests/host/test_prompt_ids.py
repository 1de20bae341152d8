"""From prompts to token ids: no part of a text is lost, and texts are normalized where the model wants it."""

import json
import time
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import openvino_genai
import pytest

from host.engines.base import RequestRefused
from host.engines.prompt_ids import PromptReader
from host.model_folder import ModelFolder, SamplingDefaults
from host.normalization import find_normalizer, to_nfc
from ipc.errors import ErrorCode
from ipc.messages import TextPrompt
from tests.models.vocabularies import write_vocabulary

CUT_AT = 8192


@pytest.fixture(scope="module")
def cutting(tmp_path_factory: pytest.TempPathFactory) -> PromptReader:
    """OpenVINO GenAI's own tokenizer of a GGUF file, which cuts texts."""
    folder = tmp_path_factory.mktemp("cutting")
    writer = gguf.GGUFWriter(folder / "model.gguf", "qwen3")
    write_vocabulary(writer, "qwen3")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    facts = ModelFolder(folder, None, None, None, frozenset(), SamplingDefaults(), None, {})
    return PromptReader(openvino_genai.Tokenizer(folder / "model.gguf"), facts, 64)


def test_a_tokenizer_that_cuts_texts_limits_the_context_and_says_so(
    cutting: PromptReader, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cutting.measure_context(2000) == 2000
    assert capfd.readouterr().err == ""
    assert cutting.measure_context(20_000) == CUT_AT
    assert (
        f"cuts texts at {CUT_AT} tokens: the context length is {CUT_AT}, not 20000" in capfd.readouterr().err
    )


def test_a_text_that_would_be_cut_is_refused(cutting: PromptReader) -> None:
    cutting.measure_context(20_000)
    text = " a" * (CUT_AT - 1)
    assert len(cutting.read(TextPrompt(text)).ids) == CUT_AT - 1
    with pytest.raises(
        RequestRefused, match=f"is {CUT_AT} tokens. However, your prompt has at least {CUT_AT}"
    ) as at:
        cutting.read(TextPrompt(text * 2))
    assert at.value.error.code == ErrorCode.CONTEXT_LENGTH_EXCEEDED


def test_the_last_tokens_of_a_text_that_would_be_cut_are_kept(cutting: PromptReader) -> None:
    cutting.measure_context(20_000)
    ids = cutting.read(TextPrompt("x" + " a" * 3 * CUT_AT + " the end"), keep=5).ids
    assert ids == cutting.read(TextPrompt(" a a a the end")).ids


# --- normalization ------------------------------------------------------------------------------------------

DECOMPOSED, COMPOSED = "q\u0307\u0323e\u0301", "q\u0323\u0307\u00e9"
NFC: dict[str, Any] = {"type": "NFC"}


@pytest.mark.parametrize(
    ("file", "content", "normalizes"),
    [
        ("tokenizer.json", {"normalizer": NFC, "model": {"vocab": {"a": 0}}}, True),
        ("tokenizer.json", {"normalizer": {"type": "Sequence", "normalizers": [NFC]}}, True),
        ("tokenizer.json", {"normalizer": {"type": "Sequence", "normalizers": []}}, False),
        ("tokenizer.json", {"normalizer": None}, False),
        ("tokenizer.json", {"normalizer": {"type": "NFKC"}}, False),
        ("tokenizer.json", {"normalizer": 5}, False),
        ("tokenizer.json", [], False),
        ("tokenizer_config.json", {"normalizer": NFC}, True),
        ("tokenizer_config.json", {}, False),
        ("config.json", {"normalizer": NFC}, False),
    ],
    ids=str,
)
def test_texts_are_normalized_if_the_folder_asks_for_it(
    file: str, content: object, normalizes: bool, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(json.dumps(content))
    assert find_normalizer(tmp_path)(DECOMPOSED) == (COMPOSED if normalizes else DECOMPOSED)


def test_marks_in_a_row_take_no_quadratic_time() -> None:
    began = time.process_time()
    hostile = "a" + "\u0301\u0323" * 500_000
    assert to_nfc(hostile + DECOMPOSED) == hostile + COMPOSED
    assert time.process_time() - began < 5.0  # seconds; sorting them all takes minutes


def test_real_texts_are_in_normalization_form_c() -> None:
    text = unicodedata.normalize("NFD", "Việt Å 각 ế") + "x" + "\u0323\u0301" * 20
    assert to_nfc(text) == unicodedata.normalize("NFC", text)


# --- added special tokens -----------------------------------------------------------------------------------


class _Adding:
    """A tokenizer of one token per character, that adds one special token in front and two behind."""

    chat_template = ""

    def __init__(self) -> None:
        self.encoded = 0  # characters

    def get_bos_token(self) -> str:
        return ""

    get_eos_token = get_original_chat_template = get_bos_token

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        self.encoded += len(text)
        ids = [ord(character) for character in text]
        whole = [1, *ids, 2, 3] if add_special_tokens else ids
        return SimpleNamespace(input_ids=SimpleNamespace(data=np.array([whole])))


@pytest.mark.parametrize(
    ("keep", "special", "expected"),
    [
        (None, True, ([1, 104, 105, 2, 3], (1, 3))),
        (4, True, ([104, 105, 2, 3], (0, 2))),
        (3, True, ([105, 2, 3], (0, 1))),
        (1, True, ([3], (0, 0))),
        (9, True, ([1, 104, 105, 2, 3], (1, 3))),
        (None, False, ([104, 105], (0, 2))),
    ],
)
def test_the_clients_part_of_a_prompt_is_without_added_tokens(
    tmp_path: Path, keep: int | None, special: bool, expected: tuple[list[int], tuple[int, int]]
) -> None:
    tokenizer = _Adding()
    reader = PromptReader(
        tokenizer, ModelFolder(tmp_path, None, None, None, frozenset(), SamplingDefaults(), None, {}), 1
    )
    reader.read(TextPrompt("warm"))
    tokenizer.encoded = 0
    read = reader.read(TextPrompt("hi", add_special_tokens=special), keep)
    assert (read.ids, read.span) == expected
    assert tokenizer.encoded == 2  # once
