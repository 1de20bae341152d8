"""Tokenizers of GGUF files: the same tokens as those of the models' makers, and no text is lost."""

import json
from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import gguf
import pytest
from openvino_genai import Tokenizer as NativeTokenizer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from host.convert.errors import ConversionError
from host.convert.gguf import read_gguf_metadata
from host.convert.gguf_model import describe
from host.convert.gguf_tokenizer import save_tokenizer
from host.convert.pre_tokenizers import PRE_TOKENIZERS
from host.engines.prompt_ids import PromptReader
from host.model_folder import ModelFolder, SamplingDefaults
from host.normalization import to_nfc
from ipc.messages import TextPrompt
from tests.models.corpus import corpus
from tests.models.vocabularies import VOCABULARIES, tokenizer_json, write_vocabulary

Encode = Callable[..., list[int]]


def convert(source: Path, folder: Path) -> NativeTokenizer:
    """What conversion writes into a model's folder, but for the weights."""
    metadata = read_gguf_metadata(source)
    save_tokenizer(metadata, folder)
    for name, content in describe(metadata).items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return NativeTokenizer(folder)


def encoder(native: NativeTokenizer, folder: Path) -> Encode:
    """From a text to ids, as for requests."""
    facts = ModelFolder(folder, None, None, None, frozenset(), SamplingDefaults(), None, {})
    reader = PromptReader(native, facts, None)
    return lambda text, add_special_tokens=False: reader.read(TextPrompt(text, add_special_tokens)).ids


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[NativeTokenizer, Encode]]:
    @cache
    def convert_vocabulary(name: str) -> tuple[NativeTokenizer, Encode]:
        folder = tmp_path_factory.mktemp(name)
        writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
        write_vocabulary(writer, name)
        close(writer)
        native = convert(folder / "model.gguf", folder)
        return native, encoder(native, folder)

    return convert_vocabulary


def close(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


# --- against the makers' own --------------------------------------------------------------------------------


def assert_same(encode: Encode, reference: Tokenizer, texts: list[str]) -> None:
    different = [
        text for text in texts if encode(text) != reference.encode(text, add_special_tokens=False).ids
    ]
    assert different == []


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_tokens_are_those_of_the_reference(name: str, converted: Any) -> None:
    _, encode = converted(name)
    reference = Tokenizer.from_file(str(tokenizer_json(name)))
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = corpus(added)
    assert len(texts) == 500
    assert_same(encode, reference, texts)
    assert_same(encode, reference, words_of(reference))


def words_of(reference: Tokenizer) -> list[str]:
    """A word for each of many tokens, some of which the merges alone do not make."""
    texts = (reference.decode([number]) for number in range(300, reference.get_vocab_size(), 61))
    return [text for text in texts if "\ufffd" not in text]


def test_the_tokens_of_smollm2_are_those_of_the_reference(smollm2_ir: Path) -> None:
    """No package holds its tokenizer.json; this is what it says."""
    (source,) = (smollm2_ir.parent / "source").glob("*.gguf")
    metadata = read_gguf_metadata(source)
    tokens = metadata.strings("tokenizer.ggml.tokens")
    pairs = [(left, right) for left, right in map(str.split, metadata.strings("tokenizer.ggml.merges"))]
    reference = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, pairs))
    special = [token for token in tokens[:17] if token.startswith("<")]
    reference.add_special_tokens(special)
    reference.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    reference.decoder = decoders.ByteLevel()
    encode = encoder(NativeTokenizer(smollm2_ir), smollm2_ir)
    assert_same(encode, reference, corpus(special))
    assert_same(encode, reference, words_of(reference))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_tokens_become_the_text_again(name: str, converted: Any) -> None:
    native, encode = converted(name)
    for text in corpus(["<x>"], 150):
        expected = to_nfc(text) if name.startswith("qwen") else text
        if name == "mistral":  # SentencePiece begins each text with a space, which it writes as this mark
            expected = " " + text.replace("▁", " ")
        assert native.decode(encode(text), skip_special_tokens=False) == expected


def test_the_examples_of_llama3(converted: Any) -> None:
    _, encode = converted("llama3")
    ids = encode("I don't (ok) = 2024 12345")
    assert ids == [40, 1541, 956, 320, 564, 8, 284, 220, 2366, 19, 220, 4513, 1774]
    assert encode("<|end_header_id|>\n\n") == [128007, 271]
    assert encode(" việc") == [100769]  # a token that its merges do not make


@pytest.mark.parametrize("name", ["qwen3", "llama3", "mistral"])
def test_a_long_text_is_not_cut(name: str, converted: Any) -> None:
    _, encode = converted(name)
    assert len(encode("1 2 " * 10_000)) >= 40_000


@pytest.mark.parametrize(("name", "bos"), [("qwen3", []), ("llama3", [128000]), ("mistral", [1])])
def test_special_tokens_are_added_only_if_asked_for(name: str, bos: list[int], converted: Any) -> None:
    _, encode = converted(name)
    assert encode("Hi", True) == bos + encode("Hi")
    assert encode("", True) == bos


def test_control_tokens_are_hidden_and_user_defined_ones_are_shown(converted: Any) -> None:
    native, encode = converted("qwen3")
    ids = encode("<|im_start|><think>a</think><tool_call><|im_end|>")
    assert ids[:2] == [151644, 151667]
    assert native.decode(ids) == "<think>a</think><tool_call>"


def test_unused_tokens_are_found_in_no_text_and_show_nothing(tmp_path: Path) -> None:
    native = tiny(tmp_path, tokens=[*TOKENS, "[PAD9]"], types=[*TYPES, 5])
    number = len(TOKENS)
    assert number not in ids_of(native, "[PAD9]ab")
    assert native.decode([number, AB]) == "ab"


# --- what a file says ---------------------------------------------------------------------------------------

ALPHABET = [*pre_tokenizers.ByteLevel.alphabet()]
TOKENS = ["<s>", "</s>", *ALPHABET, "ab", "abab", "Ġab"]
TYPES = [3, 3, *[1] * (len(TOKENS) - 2)]
AB = TOKENS.index("ab")


def tiny(folder: Path, **changes: Any) -> NativeTokenizer:
    """The tokenizer of a GGUF file of few tokens."""
    facts: dict[str, Any] = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": TOKENS,
        "types": TYPES,
        "merges": ["a b", "ab ab"],
        "scores": [],
        "bos": 0,
        "add_bos": None,
        "padding": None,
    } | changes
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_tokenizer_model(facts["model"])
    if facts["pre"]:
        writer.add_tokenizer_pre(facts["pre"])
    writer.add_token_list(facts["tokens"])
    if facts["types"] is not None:
        writer.add_token_types(facts["types"])
    if facts["merges"]:
        writer.add_token_merges(facts["merges"])
    if facts["scores"]:
        writer.add_token_scores(facts["scores"])
    if facts["bos"] is not None:
        writer.add_bos_token_id(facts["bos"])
    if facts["add_bos"] is not None:
        writer.add_add_bos_token(facts["add_bos"])
    if facts["padding"] is not None:
        writer.add_pad_token_id(facts["padding"])
    writer.add_eos_token_id(1)
    close(writer)
    return convert(folder / "model.gguf", folder)


def test_special_tokens_are_told_as_texts(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", "<pad>"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(3)
    writer.add_unk_token_id(0)
    close(writer)
    told = describe(read_gguf_metadata(tmp_path / "model.gguf"))["tokenizer_config.json"]
    assert {name: told[f"{name}_token"] for name in ("bos", "eos", "pad", "unk")} == {
        "bos": "<s>",
        "eos": "</s>",
        "pad": "<pad>",
        "unk": "<unk>",
    }


def ids_of(native: NativeTokenizer, text: str, add_special_tokens: bool = False) -> list[int]:
    ids: list[int] = native.encode(text, add_special_tokens=add_special_tokens).input_ids.data[0].tolist()
    return ids


@pytest.mark.parametrize(
    ("facts", "adds"),
    [
        ({"pre": "gpt-2"}, False),
        ({"pre": "gpt-2", "add_bos": True}, True),
        ({"pre": "gpt-2", "add_bos": True, "bos": None}, False),
        ({"pre": "llama-bpe"}, True),
        ({"pre": "llama-bpe", "add_bos": False}, False),
        ({"pre": "llama-bpe", "bos": None}, False),
        ({"pre": "tekken"}, True),
        ({"pre": "qwen2"}, False),
    ],
    ids=str,
)
def test_a_text_begins_with_bos_if_the_file_or_its_pre_tokenizer_says_so(
    facts: dict[str, Any], adds: bool, tmp_path: Path
) -> None:
    native = tiny(tmp_path, **facts)
    assert ids_of(native, "ab", True) == ([0, AB] if adds else [AB])
    assert ids_of(native, "ab", False) == [AB]


def test_a_token_that_no_merge_makes_is_taken_only_as_a_whole_word_and_only_where_that_is_the_rule(
    tmp_path: Path,
) -> None:
    facts = {"tokens": [*TOKENS, "xyz"], "types": [*TYPES, 1]}
    xyz = len(TOKENS)
    letters = [TOKENS.index(letter) for letter in "xyz"]
    for pre, expected in {"gpt-2": letters, "llama-bpe": [xyz]}.items():
        folder = tmp_path / pre
        folder.mkdir()
        native = tiny(folder, pre=pre, **facts)
        assert ids_of(native, "xyz") == expected
        assert ids_of(native, "xyzab") == [*letters, AB]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"pre": "klingon"}, "its pre-tokenizer 'klingon' is not supported; convert the original"),
        ({"pre": "default"}, "its pre-tokenizer 'default' is not supported"),
        ({"pre": None}, "names no pre-tokenizer; get a GGUF file that a current llama.cpp made"),
        ({"model": "rwkv"}, "its tokenizer .'rwkv'. is not supported"),
        ({"merges": ["a b", "a q"]}, r"merges\[1\]"),
        ({"merges": ["ab"]}, r"merges\[0\]"),
        ({"merges": []}, "merges is missing"),
        ({"types": TYPES[1:]}, "token_type"),
        ({"model": "llama"}, "scores"),
        ({"model": "llama", "scores": [0.0] * (len(TOKENS) - 1)}, "scores"),
        ({"model": "llama", "scores": [float("nan")] * len(TOKENS)}, "scores"),
        ({"model": "llama", "scores": [0.0] * len(TOKENS), "types": [6] * len(TOKENS)}, "'<s>' is no token"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_named_before_anything_is_written(
    facts: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=reason):
        tiny(tmp_path, **facts)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_thousands_of_special_tokens_are_all_found(tmp_path: Path) -> None:
    """As models have that speak: more than one pattern can hold."""
    sounds = [f"<custom_token_{number}>" for number in range(3000)]
    native = tiny(tmp_path, tokens=[*TOKENS, *sounds], types=[*TYPES, *[4] * len(sounds)])
    expected = [AB, *range(len(TOKENS), len(TOKENS) + len(sounds)), AB]
    assert ids_of(native, f"ab{''.join(sounds)}ab") == expected
    assert native.decode(expected) == f"ab{''.join(sounds)}ab"


def test_more_special_tokens_than_the_engine_can_find_are_refused(tmp_path: Path) -> None:
    words = ["".join(letters) for letters in permutations("abcdefgh", 6)]
    with pytest.raises(ConversionError, match=r"too many special tokens \(20162\)"):
        tiny(tmp_path, tokens=[*TOKENS, *words], types=[*TYPES, *[3] * len(words)])


def test_thousands_of_whole_words_are_all_found(tmp_path: Path) -> None:
    words = [f"{'xyz' * 9}{chr(0x4E00 + number)}" for number in range(3000)]
    spelled = [*map(to_alphabet, words)]
    facts = {"tokens": [*TOKENS, *spelled], "types": [*TYPES, *[1] * len(words)]}
    native = tiny(tmp_path, pre="llama-bpe", **facts)
    ids = ids_of(native, "\n".join(words))
    assert len(ids) == 2 * len(words) - 1
    assert ids[::2] == list(range(len(TOKENS), len(TOKENS) + len(words)))


def to_alphabet(text: str) -> str:
    return "".join(
        piece for piece, _ in pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(text)
    )


def test_a_file_without_special_tokens_has_none(tmp_path: Path) -> None:
    native = tiny(tmp_path, types=[1] * len(TOKENS))
    assert ids_of(native, "<s>ab") == [*(TOKENS.index(letter) for letter in "<s>"), AB]


@pytest.mark.parametrize("types", [None, []], ids=str)
@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2"])
def test_without_types_the_tokens_that_have_a_role_are_control_tokens(
    types: list[int] | None, pre: str, tmp_path: Path
) -> None:
    facts = {"tokens": [*TOKENS, "<pad>", "<b>"], "types": types, "padding": len(TOKENS)}
    native = tiny(tmp_path, pre=pre, **facts)
    ids = ids_of(native, "<s>ab</s><pad>")
    assert ids == [0, AB, 1, len(TOKENS)]
    assert native.decode(ids) == "ab"
    assert native.decode(ids, skip_special_tokens=False) == "<s>ab</s><pad>"
    assert native.decode(ids_of(native, "<b>ab")) == "<b>ab"


def test_without_types_and_roles_all_tokens_are_text(tmp_path: Path) -> None:
    tokens = ["a", "b", *TOKENS[2:]]  # the second ends answers
    native = tiny(tmp_path, tokens=[*tokens, "<x>"], types=None, bos=None)
    assert native.decode(ids_of(native, "<x>a")) == "<x>a"


def test_sentencepiece_without_types_knows_its_bytes(tmp_path: Path) -> None:
    tokens = ["<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁a"]
    facts = {"tokens": tokens, "types": None, "scores": [-float(number) for number in range(len(tokens))]}
    native = tiny(tmp_path, model="llama", pre=None, merges=[], **facts)
    ids = ids_of(native, "aé</s>")
    assert ids == [260, 2 + 0xC3, 2 + 0xA9, 1]
    assert native.decode(ids) == " aé"


# --- pre-tokenizers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", {kind.splits: name for name, kind in PRE_TOKENIZERS.items()}.values())
def test_the_engine_cuts_words_as_the_patterns_say(name: str) -> None:
    """OpenVINO takes a pattern that it cannot compile for one that matches nothing."""
    patterns = PRE_TOKENIZERS[name].splits
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    )
    pieces = splitter(patterns)
    for text in corpus(["<x>"], 150):
        assert pieces(text) == [piece for piece, _ in split.pre_tokenize_str(text)], text


def splitter(patterns: tuple[str, ...]) -> Callable[[str], list[str]]:
    import openvino
    from openvino_tokenizers import _get_opset_factory
    from openvino_tokenizers import tokenizer_pipeline as blocks

    text = openvino.op.Parameter(openvino.Type.string, openvino.PartialShape(["?"]))
    nodes = _get_opset_factory("opset15").create("StringTensorUnpack", text.outputs()).outputs()
    nodes = blocks.TokenizerPipeline.add_ragged_dimension(nodes)
    nodes = blocks.SpecialTokensSplit([blocks.SpecialToken("<s>")]).get_ov_subgraph(nodes)
    for pattern in patterns:
        nodes = blocks.RegexSplitStep(pattern, behaviour="isolate").get_ov_subgraph(nodes)
    model = openvino.Core().compile_model(openvino.Model(nodes[2:5], [text], "splits"), "CPU")

    def pieces(text: str) -> list[str]:
        begins, ends, characters = model({0: [text]}).values()
        return [bytes(characters[begin:end]).decode() for begin, end in zip(begins, ends, strict=True)]

    return pieces
