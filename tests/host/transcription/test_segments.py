"""From what a model heard to segments in a recording's time."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from host.transcription.repetition import is_loop, without_repeats
from host.transcription.segments import Heard, HeardSegment, HeardWord, Place, placed
from ipc.messages import Segment, Word

PLACE = Place(100.0, 110.0, [(100.3, 103.0), (104.0, 109.5)])


def place(
    *segments: tuple[float, float, str], words: list[tuple[float, float, str]] | None = None
) -> list[Segment]:
    heard = [HeardSegment(*segment) for segment in segments]
    return placed(Heard("en", heard, [HeardWord(*word) for word in words or []]), PLACE)


def test_times_are_shifted_and_leave_the_pauses_out() -> None:
    found = place((0.0, 3.5, " One two."), (3.5, 9.8, " Three."))
    assert found == [Segment(100.3, 103.0, "One two."), Segment(104.0, 109.5, "Three.")]


def test_a_segment_without_an_end_goes_to_the_end_of_the_window() -> None:
    assert place((5.0, -1.0, " One")) == [Segment(105.0, 109.5, "One")]


def test_times_beyond_the_window_end_with_it() -> None:
    (one, two) = place((0.5, 9.4, " One"), (9.4, 30.0, " Two"))
    assert one.end <= two.start < two.end <= 110.0


def test_what_is_heard_where_nobody_speaks_is_left_out() -> None:
    speech = PLACE._replace(speech=[(100.3, 103.0)])
    heard = Heard("en", [HeardSegment(0.3, 3.0, " One."), HeardSegment(6.0, 8.0, " you")], [])
    assert [segment.text for segment in placed(heard, speech)] == ["One."]


def test_what_is_no_speech_is_left_out() -> None:
    texts = (" [BLANK_AUDIO]", " (applause)", " ♪ la la ♪", " ...", "  ", " *sighs*", " One (two).", " 你好")
    found = place(*((0.5, 2.5, text) for text in texts))
    assert [segment.text for segment in found] == ["One (two).", "你好"]


def test_words_set_the_times_of_their_segment() -> None:
    words = [(0.0, 0.6, " One"), (0.6, 1.0, " two."), (4.2, 4.9, " Three.")]
    one, two = place((0.0, 3.5, " One two."), (3.5, 9.8, " Three."), words=words)
    assert one == Segment(100.3, 101.0, "One two.", [Word("One", 100.3, 100.6), Word("two.", 100.6, 101.0)])
    assert two.words == [Word("Three.", 104.2, 104.9)]


def test_words_of_text_that_the_engine_dropped_are_left_out() -> None:
    words = [
        (0.3, 1.0, " One."),
        (4.0, 5.0, " Thr"),
        (5.0, 6.0, " e"),
        (4.1, 5.0, " Three"),
        (5.0, 6.0, " four."),
    ]
    one, two = place((0.3, 1.0, " One."), (4.0, 6.0, " Three four."), words=words)
    assert [word.text for word in one.words + two.words] == ["One.", "Three", "four."]


def test_a_segment_whose_words_are_unknown_has_none() -> None:
    one, two = place((0.3, 1.0, " One."), (4.0, 6.0, " Two."), words=[(4.0, 5.0, " Two.")])
    assert (one.words, len(two.words)) == ([], 1)


TIMES = st.floats(-1, 31)
HEARD = st.lists(st.tuples(TIMES, TIMES, st.sampled_from([" a", " b c", "d"])), max_size=6)


@given(HEARD, st.lists(st.tuples(TIMES, TIMES, st.sampled_from([" a", " b", " c", "d"])), max_size=12))
def test_times_increase_whatever_the_model_claims(
    segments: list[tuple[float, float, str]], words: list[tuple[float, float, str]]
) -> None:
    found = place(*segments, words=words)
    assert all(segment.start >= PLACE.start and segment.end > segment.start for segment in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
    spoken = [word for segment in found for word in segment.words]
    assert all(word.start < word.end for word in spoken)
    assert all(one.end <= two.start for one, two in pairwise(spoken))
    assert all(segment.end <= PLACE.end for segment in found)


def test_a_text_that_runs_in_circles_is_known() -> None:
    assert is_loop("thank you very much " * 40, 5.0, exhausted=False)
    assert is_loop("and so on " * 40, 30.0, exhausted=True)
    assert not is_loop("no no no no no no no no no no no no no no ", 5.0, exhausted=False)
    assert not is_loop("", 30.0, exhausted=True)
    assert not is_loop(
        "A fast speaker says a great many different things in next to no time.", 1.0, exhausted=False
    )


def test_circles_are_reduced_to_one_turn() -> None:
    segments = [
        HeardSegment(0, 1, " One."),
        HeardSegment(1, 2, " One."),
        HeardSegment(2, 3, " A" + " b c d" * 9),
    ]
    assert [segment.text for segment in without_repeats(segments)] == [" One.", " A b c d"]
