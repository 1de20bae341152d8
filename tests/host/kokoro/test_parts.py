"""What has more phonemes than the model takes at once is cut; nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st

from host.kokoro.native_speaker import parts_of
from host.kokoro.parts import cut_by_phonemes, parts_to_read
from host.kokoro.speaker import CONTEXT


def test_a_sentence_of_usual_length_is_one_part():
    assert cut_by_phonemes("¿Dónde está la biblioteca?") == ["¿Dónde está la biblioteca?"]


def test_digits_cost_as_many_phonemes_as_their_words():
    parts = cut_by_phonemes("9 " * 100)
    assert len(parts) > 3
    assert all(part.count("9") <= 34 for part in parts)


def test_slow_speech_is_cut_into_smaller_parts():
    """A part takes about as long to compute at any speed."""
    text = "One word follows another, and none of them ends the sentence, as it goes on and on. " * 3
    usual, slow = parts_to_read(text, "en-US", 1.0), parts_to_read(text, "en-US", 0.25)
    assert max(map(len, slow)) <= max(map(len, usual))
    assert max(map(len, slow)) < 70
    assert parts_to_read(text, "en-US", 4.0) == usual
    assert " ".join(slow) == " ".join(usual)


@given(st.text(alphabet="ab 1,", max_size=1200))
def test_parts_are_the_sentence_again(sentence):
    parts = cut_by_phonemes(sentence)
    assert "".join(parts).replace(" ", "") == sentence.replace(" ", "")
    assert all(0 < len(part) <= 320 for part in parts)


@given(st.text(alphabet="ab ", min_size=1, max_size=1200))
def test_phonemes_are_cut_between_words(phonemes):
    parts = parts_of(phonemes)
    assert "".join(parts).replace(" ", "") == phonemes.replace(" ", "")
    assert all(0 < len(part) <= CONTEXT for part in parts)
