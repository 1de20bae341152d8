"""What grammars can spell: vocabularies as byte-level models and as SentencePiece models have them."""

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import openvino_genai as genai
import pytest

from frontend.parsing import tool_format
from frontend.structured import json_schema, regex
from host.engines.base import RequestRefused
from host.grammar import structural_tag
from host.vocabulary import Vocabulary, _raw_vocabulary, load_tokenizer
from tests.host.bare_engine import Engine
from tests.models.sentencepiece import tiny_sentencepiece

_EOS = 2
_TEXT = "Hello  world\n\n\té 😀 <0x0A> ▁ end"
_SCHEMA = {
    "type": "object",
    "properties": {"a b": {"enum": ["x y", "tab\tand\nline"]}, "n": {"type": "integer", "maximum": 9}},
    "required": ["a b", "n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny_sentencepiece()


def test_pieces_are_loaded_as_the_bytes_that_they_stand_for(folder: Path) -> None:
    native, pieces = load_tokenizer(folder)
    raw = genai.Tokenizer(folder).get_vocab()
    assert "▁the".encode() in raw
    assert b"<0x0A>" in raw
    assert pieces is not None
    assert pieces[raw["▁the".encode()]] == b" the"
    assert pieces[raw[b"<0x0A>"]] == b"\n"
    assert len(pieces) == len(raw)
    assert set(pieces) == set(native.get_vocab())


def test_texts_are_the_same_as_with_raw_pieces(folder: Path) -> None:
    native, pieces = load_tokenizer(folder)
    assert pieces is not None
    raw = genai.Tokenizer(folder)
    ids = [[number] for number in range(len(pieces))]
    assert native.decode(ids, skip_special_tokens=False) == raw.decode(ids, skip_special_tokens=False)
    assert native.decode(ids) == raw.decode(ids)
    encoded = raw.encode(_TEXT, add_special_tokens=False).input_ids
    assert native.encode(_TEXT, add_special_tokens=False).input_ids.data.tolist() == encoded.data.tolist()
    assert native.decode(encoded) == raw.decode(encoded)
    assert native.get_eos_token_id() == raw.get_eos_token_id() == _EOS


def test_a_folder_without_raw_pieces_is_loaded_as_it_is(smollm2_ir: Path) -> None:
    native, pieces = load_tokenizer(smollm2_ir)
    assert pieces is None
    assert Vocabulary(native.get_vocab()).spells_all


@pytest.mark.parametrize(("damaged", "kept"), [("xml", 5), ("bin", 1001), ("bin", 0)])
def test_a_damaged_detokenizer_is_left_to_the_engine(
    folder: Path, tmp_path: Path, damaged: str, kept: int
) -> None:
    for file in folder.iterdir():
        if "tokenizer" in file.name:
            shutil.copy(file, tmp_path)
    file = tmp_path / f"openvino_detokenizer.{damaged}"
    file.write_bytes(file.read_bytes()[:kept])
    assert _raw_vocabulary(tmp_path) is None
    with pytest.raises(RuntimeError):
        load_tokenizer(tmp_path)


def test_grammars_of_all_kinds_are_kept_to_over_a_sentencepiece_vocabulary(folder: Path) -> None:
    arguments = [(name, tool_format(name)) for name in ("hermes", "qwen3_coder")]
    calls = [
        form.grammar({"f": form.arguments_format(_SCHEMA)}, at_least_one=True, parallel=False)
        for _, form in arguments
    ]
    asked = [json_schema(_SCHEMA), regex("a b\n\tc"), *calls]
    answer, chosen, hermes, xml = (text.text for text in Engine(folder).run(asked, 120, [1.5] * len(asked)))
    jsonschema.validate(json.loads(answer), _SCHEMA)
    assert chosen == "a b\n\tc"
    assert hermes.startswith('<tool_call>\n{"name": "f", "arguments": {"a b": "')
    assert hermes.endswith("}\n</tool_call>")
    assert xml.startswith("<tool_call>\n<function=f>\n<parameter=a b>\n")
    assert xml.endswith("\n</parameter>\n</function>\n</tool_call>")


# --- vocabularies that cannot spell everything ------------------------------------------------------------

_LETTERS = [bytes([code]) for code in range(33, 127)]  # neither spaces nor newlines
_FEW = Vocabulary([*_LETTERS, "é".encode(), b"\xe2", b"\x82", b"\xac"])


@pytest.mark.parametrize(
    ("text", "unspelled"), [("", None), ("a{", None), ("é€", None), ("a b\n", " "), ("ü", "ü")]
)
def test_a_character_is_spelled_by_its_own_token_or_by_those_of_its_bytes(
    text: str, unspelled: str | None
) -> None:
    assert _FEW.unspelled(text) == unspelled


@pytest.mark.parametrize(
    ("form", "character"),
    [
        (json_schema({"enum": ["a b"]}), " "),
        ({"type": "tag", "begin": "a\n", "content": {"type": "any_text"}, "end": ""}, "\n"),
        ({"type": "or", "elements": [{"type": "const_string", "value": "ü"}]}, "ü"),
        (regex("a b"), " "),
    ],
)
def test_a_grammar_that_the_vocabulary_cannot_spell_is_refused(form: dict[str, Any], character: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        structural_tag(json.dumps(form), [], "", _FEW)
    assert repr(character) in str(caught.value)
    assert caught.value.error.param == "response_format"


@pytest.mark.parametrize(
    "form", [json_schema({"enum": ["a€"]}), json_schema({"type": "string"}), regex("[ab]")]
)
def test_other_grammars_are_taken(form: dict[str, Any]) -> None:
    assert structural_tag(json.dumps(form), [], "", _FEW)
