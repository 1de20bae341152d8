"""No word of an English text is lost on its way into GenAI's pipeline, which takes ASCII only."""

import pytest

from host.kokoro.english import readable_english


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Plain words, and more.", "Plain words, and more."),
        ("café naïve Ærøskøbing Straße", "cafe naive AEroskobing Strasse"),
        ("It’s 5 o'clock.", "It's 5 o'clock."),  # typographic apostrophes become plain ones
        ("[x](/y/)", "(x)(/y/)"),  # no markup of the pipeline
        ("αβ", "alpha beta"),
        ("日", "character"),
        ("x" * 130, " ".join(("x" * 60, "x" * 60, "x" * 10))),
    ],
)
def test_without_espeak_foreign_words_are_spelled(text, read):
    assert readable_english(text, None) == read


def test_words_in_other_scripts_are_written_as_their_phonemes():
    assert readable_english("Say Привет now", lambda word: f"<{len(word)}>") == "Say [word](/<6>/) now"


def test_a_word_without_phonemes_is_spelled():
    assert readable_english("Привет", lambda word: "") == "pe er i ve ie te"
