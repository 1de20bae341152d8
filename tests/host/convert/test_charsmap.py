"""Tables of character replacements, read by the engine's own tokenizers."""

import unicodedata
from typing import Any

import openvino as ov
import openvino_tokenizers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino_tokenizers import tokenizer_pipeline as blocks

from host.convert.bert_normalizer import BertNormalizer
from host.convert.charsmap import encode_charsmap


def replaced(table: bytes, texts: list[str]) -> list[str]:
    """What OpenVINO's normalizer makes of the texts."""
    factory = openvino_tokenizers._get_opset_factory("opset15")
    source = ov.op.Parameter(ov.Type.string, ov.PartialShape(["?"]))
    nodes = factory.create("StringTensorUnpack", source.outputs()).outputs()
    nodes = blocks.CharsmapStep(charsmap=table, remove_extra_whitespaces=False).get_ov_subgraph(nodes)
    packed = factory.create("StringTensorPack", nodes).outputs()
    model = ov.Core().compile_model(ov.Model(packed, [source], "normalizer"), "CPU")
    return [str(text) for text in model(texts)[0]]


def expected(replacements: dict[str, str], text: str) -> str:
    """The longest key at each place is replaced."""
    out, at = "", 0
    while at < len(text):
        keys = [key for key in replacements if text.startswith(key, at)]
        key = max(keys, key=len, default="")
        out += replacements[key] if key else text[at]
        at += len(key) or 1
    return out


CHARACTERS = st.characters(exclude_categories=["Cs"])


@settings(max_examples=30)  # each compiles a model
@given(
    st.dictionaries(
        st.text(CHARACTERS.filter(lambda c: c != "\0"), min_size=1, max_size=3),
        st.text(CHARACTERS.filter(lambda c: c != "\0"), max_size=3),
        min_size=1,
        max_size=30,
    ),
    st.data(),
)
def test_the_longest_key_is_replaced(replacements: dict[str, str], data: Any) -> None:
    piece = st.sampled_from(list(replacements)) | st.text(CHARACTERS, max_size=3)
    text = "".join(data.draw(st.lists(piece, max_size=12))) + "|"  # numpy drops a NUL at the end
    assert replaced(encode_charsmap(replacements), [text]) == [expected(replacements, text)]


def test_berts_whole_table_replaces_every_character_and_keeps_all_others() -> None:
    replacements = BertNormalizer().replacements()
    characters = [
        chr(code) for code in (*range(1, 0xD800), *range(0xE000, 0x32000), *range(0xE0000, 0xE2000), 0x10FFFF)
    ]
    found = replaced(encode_charsmap(replacements), [f"a{character}b" for character in characters])
    wrong = {
        character: text
        for character, text in zip(characters, found, strict=True)
        if text != f"a{replacements.get(character, character)}b"
    }
    assert not wrong


@pytest.mark.parametrize(
    ("normalizer", "text", "result"),
    [
        (BertNormalizer(), "ÀÉ\tß\u00adµ\r\nΣς한\u3000x", "ae ßµ  σς한 x"),
        (BertNormalizer(lowercase=False), "ÀÉ\tx", "ÀÉ x"),
        (BertNormalizer(strip_accents=False), "ÀÉ\tX", "àé x"),
        (BertNormalizer(lowercase=False, strip_accents=True), "ÀÉ\tX", "AE X"),
        (BertNormalizer(clean_text=False), "À\u00ad\tX", "a\u00ad\tx"),
    ],
)
def test_berts_options_do_what_they_say(normalizer: BertNormalizer, text: str, result: str) -> None:
    (found,) = replaced(encode_charsmap(normalizer.replacements()), [text])
    assert unicodedata.normalize("NFC", found) == result
