"""Text from token ids: two ways, one result, on the real tokenizer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.detokenizer import BatchedDetokenizer, Detokenizer, VocabularyDetokenizer, choose_detokenizer
from tests.models.sentencepiece import tiny_sentencepiece

TEXTS = [
    "The quick brown fox.",
    "naïve café, Ünïcödé — “quotes” …",
    "日本語のテキストと中文字符，한국어도.",
    "emoji 😀👩‍👩‍👧‍👦🏳️‍🌈 and flags 🇫🇷🇩🇪!",
    "Привет, мир! שלום עולם مرحبا بالعالم",
    "def f(x):\n\treturn  x ** 2   # code\r\n\n\n",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ∑∫√ ≠ ∞ \u0301 combining e\u0301 zero\u200bwidth",
]
EOS = 2


@pytest.fixture(scope="module")
def tokenizer(smollm2_ir: Path) -> Any:
    from openvino_genai import Tokenizer

    return Tokenizer(smollm2_ir)


def encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
    return ids


def streamed(detokenizer: Detokenizer[Any], ids: list[int], at_once: int = 1) -> str:
    stream = detokenizer.open()
    pieces = [detokenizer.feed([(stream, ids[at : at + at_once])])[0] for at in range(0, len(ids), at_once)]
    return "".join(pieces) + detokenizer.finish(stream)


@pytest.fixture(scope="module", params=["vocabulary", "batched"])
def detokenizer(request: pytest.FixtureRequest, tokenizer: Any) -> Detokenizer[Any]:
    return choose_detokenizer(tokenizer) if request.param == "vocabulary" else BatchedDetokenizer(tokenizer)


def test_a_byte_level_tokenizer_needs_no_calls(tokenizer: Any) -> None:
    assert isinstance(choose_detokenizer(tokenizer), VocabularyDetokenizer)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_text_comes_back_whole(
    tokenizer: Any, detokenizer: Detokenizer[Any], text: str, at_once: int
) -> None:
    assert streamed(detokenizer, encode(tokenizer, text), at_once) == text


@pytest.mark.parametrize("text", TEXTS)
def test_a_stream_cut_anywhere_gives_the_tokenizers_own_text(
    tokenizer: Any, detokenizer: Detokenizer[Any], text: str
) -> None:
    ids = encode(tokenizer, text)
    for end in range(1, len(ids)):
        assert streamed(detokenizer, ids[:end]) == tokenizer.decode(ids[:end])


def test_special_tokens_are_not_shown(tokenizer: Any, detokenizer: Detokenizer[Any]) -> None:
    assert streamed(detokenizer, [1, *encode(tokenizer, "a 😀"), EOS]) == "a 😀"


def test_special_tokens_are_shown_on_demand(tokenizer: Any, detokenizer: Detokenizer[Any]) -> None:
    ids = [1, *encode(tokenizer, "a 😀"), EOS]
    stream, hiding = detokenizer.open(skip_special_tokens=False), detokenizer.open()
    shown, hidden = detokenizer.feed([(stream, ids), (hiding, list(ids))])
    assert shown + detokenizer.finish(stream) == "<|im_start|>a 😀<|im_end|>"
    assert hidden + detokenizer.finish(hiding) == "a 😀"


def test_each_token_has_its_bytes(tokenizer: Any, detokenizer: Detokenizer[Any]) -> None:
    ids = encode(tokenizer, "naïve 😀")
    assert b"".join(detokenizer.token_bytes(ids)).decode() == "naïve 😀"


def test_special_tokens_are_known_by_their_texts() -> None:
    detokenizer = choose_detokenizer(SentencePieceLike())
    assert dict(detokenizer.special) == {3: "<s>"}
    assert detokenizer.token_bytes([0, 3]) == [b" Hello", b"<s>"]


def test_an_unfinished_character_waits_for_its_end(tokenizer: Any, detokenizer: Detokenizer[Any]) -> None:
    ids = encode(tokenizer, "𝔘")
    assert len(ids) > 1
    stream = detokenizer.open()
    assert [detokenizer.feed([(stream, [number])])[0] for number in ids] == [""] * (len(ids) - 1) + ["𝔘"]


@pytest.mark.parametrize("skip_special_tokens", [True, False])
def test_streams_of_one_batch_do_not_mix(
    tokenizer: Any, detokenizer: Detokenizer[Any], skip_special_tokens: bool
) -> None:
    streams = [detokenizer.open(skip_special_tokens) for _ in TEXTS]
    left = [encode(tokenizer, text) for text in TEXTS]
    texts = [""] * len(TEXTS)
    while any(left):
        turn = [at for at, ids in enumerate(left) if ids]
        gains = detokenizer.feed([(streams[at], [left[at].pop(0)]) for at in turn])
        for at, gain in zip(turn, gains, strict=True):
            texts[at] += gain
    assert texts == TEXTS


@settings(max_examples=60)
@given(st.text(max_size=60), st.integers(1, 4))
def test_both_ways_agree_on_any_text(tokenizer: Any, text: str, at_once: int) -> None:
    ids = encode(tokenizer, text) or [EOS]
    both = [choose(tokenizer) for choose in (_vocabulary, BatchedDetokenizer)]
    first, second = (streamed(detokenizer, ids, at_once) for detokenizer in both)
    assert first == second == tokenizer.decode(ids)


_cache: dict[int, Detokenizer[Any]] = {}


def _vocabulary(tokenizer: Any) -> Detokenizer[Any]:
    if id(tokenizer) not in _cache:
        _cache[id(tokenizer)] = choose_detokenizer(tokenizer)
    return _cache[id(tokenizer)]


class SentencePieceLike:
    """A tokenizer whose text is not the sum of its pieces: a sequence's first blank is not shown."""

    pieces = (b"\xe2\x96\x81Hello", b"\xe2\x96\x81world", b"!", b"<s>")
    shown = (" Hello", " world", "!", "")

    def get_vocab(self) -> dict[bytes, int]:
        return {piece: number for number, piece in enumerate(self.pieces)}

    def decode(self, tokens: list[list[int]], skip_special_tokens: bool = True) -> list[str]:
        shown = self.shown if skip_special_tokens else (*self.shown[:3], "<s>")
        return ["".join(shown[number] for number in ids).removeprefix(" ") for ids in tokens]


class WithReplacement:
    """A byte-level tokenizer that shows bytes of unfinished characters as U+FFFD."""

    pieces = tuple(bytes([number]) for number in range(256))

    def get_vocab(self) -> dict[bytes, int]:
        return {piece: number for number, piece in enumerate(self.pieces)}

    def decode(self, tokens: list[list[int]], skip_special_tokens: bool = True) -> list[str]:
        return [bytes(ids).decode(errors="replace") for ids in tokens]


def test_pieces_that_do_not_add_up_are_decoded_in_batches() -> None:
    detokenizer = choose_detokenizer(SentencePieceLike())
    assert isinstance(detokenizer, BatchedDetokenizer)
    assert streamed(detokenizer, [0, 1, 3, 2] * 30) == ("Hello" + " world! Hello" * 30)[: -len(" Hello")]


class Padding(WithReplacement):
    """Fills shorter rows up with a special token, as OpenVINO's do. Its vocabulary is no multiple of 64."""

    pieces = (*WithReplacement.pieces, b"abc", b"<pad>")

    def decode(self, tokens: list[list[int]], skip_special_tokens: bool = True) -> list[str]:
        longest = max(map(len, tokens))
        filled = [ids + [257] * (longest - len(ids)) for ids in tokens]
        shown = [number for number in range(258) if not skip_special_tokens or number != 257]
        return [
            b"".join(self.pieces[number] for number in ids if number in shown).decode(errors="replace")
            for ids in filled
        ]


def test_how_a_tokenizer_fills_rows_up_is_no_reason_to_ask_it_for_every_token() -> None:
    detokenizer = choose_detokenizer(Padding())
    assert isinstance(detokenizer, VocabularyDetokenizer)
    assert dict(detokenizer.special) == {257: "<pad>"}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("way", [choose_detokenizer, BatchedDetokenizer])
def test_replacement_characters_of_unfinished_bytes_are_held_back(way: Any, text: str) -> None:
    detokenizer: Detokenizer[Any] = way(WithReplacement())
    assert streamed(detokenizer, list(text.encode())) == text


@pytest.fixture(autouse=True, scope="module")
def forget_tokenizers() -> Iterator[None]:
    yield
    _cache.clear()


def test_a_sentencepiece_text_goes_on_with_its_space_and_begins_without() -> None:
    from openvino_genai import Tokenizer

    tokenizer: Any = Tokenizer(tiny_sentencepiece())
    detokenizer = choose_detokenizer(tokenizer)
    text = "The capital of France 😀 été."
    ids = tokenizer.encode(text).input_ids.data.flatten().tolist()
    begins = 1 + tokenizer.decode([ids[:2]])[0].startswith("The")  # after <s> and the first word
    assert b"".join(detokenizer.text_bytes(ids[1:])).decode() == text
    for cut in range(begins, len(ids)):
        before = tokenizer.decode([ids[:cut]])[0]
        streams = [detokenizer.open(True, ids[:cut]) for _ in range(2)]
        gained = [detokenizer.feed([(streams[0], [number])])[0] for number in ids[cut:]]
        rest = "".join(gained) + detokenizer.finish(streams[0])
        assert before + rest == text
        assert b"".join(detokenizer.shown_bytes(streams[1], ids[cut:])).decode() == rest
    alone = detokenizer.open(True)
    assert detokenizer.feed([(alone, ids[1:])]) == [text]
    assert b"".join(detokenizer.shown_bytes(detokenizer.open(True), ids)).decode() == text
