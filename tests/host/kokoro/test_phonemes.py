"""espeak-ng's phonemes in the letters that Kokoro was trained with."""

import json
import unicodedata

import pytest

from host.kokoro.languages import LANGUAGES
from host.kokoro.phonemes import Phonemizer, kokoro_letters

AMERICAN, BRITISH, SPANISH = (LANGUAGES[letter] for letter in "abe")


@pytest.mark.parametrize(
    ("ipa", "language", "letters"),
    [
        ("h^əlˈo^ʊ", AMERICAN, "həlˈO"),
        ("wˈɜːld", AMERICAN, "wˈɜɹld"),
        ("t^ʃˈɜːt^ʃ", BRITISH, "ʧˈɜːʧ"),
        ("ɡˈə^ʊ", BRITISH, "ɡˈQ"),
        ("d^ʒˈa^ɪ", SPANISH, "ʤˈI"),
        ("pˈero", SPANISH, "pˈero"),
    ],
)
def test_letters(ipa, language, letters):
    assert kokoro_letters(ipa, language) == letters


@pytest.mark.parametrize(
    ("letter", "text"),
    [
        ("a", "The quick brown fox jumps over the lazy dog, doesn't it?"),
        ("b", "The quick brown fox jumps over the lazy dog, doesn't it?"),
        ("e", "El pingüino Wenceslao hizo kilómetros bajo la lluvia, ¿verdad?"),
        ("f", "Portez ce vieux whisky au juge blond qui fume !"),
        ("h", "नमस्ते, आप कैसे हैं?"),
        ("i", "Quel vituperabile xenofobo zelante assaggia il whisky."),
        ("p", "Um pequeno jabuti xereta viu dez cegonhas felizes."),
    ],
)
def test_nearly_all_phonemes_are_in_the_vocabulary(kokoro_ir, letter, text):
    vocab = json.loads((kokoro_ir / "config.json").read_text())["vocab"]
    phonemes = Phonemizer().phonemes(text, LANGUAGES[letter])
    unknown = [phoneme for phoneme in phonemes if phoneme not in vocab]
    assert len(phonemes) >= len(text) // 2
    assert not [phoneme for phoneme in unknown if unicodedata.category(phoneme).startswith("L")], unknown
