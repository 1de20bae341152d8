"""Stop strings over streams of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.stops import StopMatcher


def stream(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    """All that is shown of the pieces, and whether a stop string ended it."""
    matcher = StopMatcher(stops)
    shown = "".join(matcher.feed(piece) for piece in pieces)
    return shown + matcher.flush(), matcher.matched is not None


def test_a_stop_string_across_pieces_is_left_out() -> None:
    assert stream(["END"], ["one E", "N", "D two"]) == ("one ", True)


def test_text_without_a_stop_string_comes_out_whole() -> None:
    assert stream(["END"], ["one E", "N", "C"]) == ("one ENC", False)


def test_the_earliest_of_several_wins() -> None:
    assert stream(["later", "soon"], ["it is soon or later"]) == ("it is ", True)


def test_only_a_possible_match_is_held_back() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    assert matcher.feed("a\n") == "a"
    assert matcher.feed("b") == "\nb"
    assert matcher.feed("no stop here") == "no stop here"


def test_a_match_that_begins_inside_a_failed_one_is_found() -> None:
    assert stream(["aab"], ["a", "a", "a", "b"]) == ("a", True)


@pytest.mark.parametrize("pieces", [["one END two"], ["one E", "ND two"]])
def test_an_included_stop_string_is_shown(pieces: list[str]) -> None:
    matcher = StopMatcher(["two"], included=["END"])
    assert ("".join(matcher.feed(piece) for piece in pieces), matcher.matched) == ("one END", "END")


def test_nothing_is_shown_after_a_match() -> None:
    matcher = StopMatcher(["x"])
    assert (matcher.feed("1x2"), matcher.feed("3"), matcher.flush()) == ("1", "", "")


@pytest.mark.parametrize("tail", ["", "E", "EN"])
def test_what_is_held_back_comes_out_at_the_end(tail: str) -> None:
    assert stream(["END"], ["text" + tail]) == ("text" + tail, False)


@given(
    st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.text("ab\n", max_size=5), max_size=12),
)
def test_the_cut_into_pieces_makes_no_difference(stops: list[str], pieces: list[str]) -> None:
    """Against the definition: the text before the first place where any stop string starts and was complete
    no later than any other."""
    text = "".join(pieces)
    ends = [(at + len(stop), at) for stop in stops for at in range(len(text)) if text.startswith(stop, at)]
    shown, matched = stream(stops, pieces)
    assert matched == bool(ends)
    assert text.startswith(shown)
    if ends:
        # A stream can only act on what it has seen: the piece in which the first match is complete.
        first_end = min(end for end, _ in ends)
        seen, length = 0, 0
        for piece in pieces:
            length += len(piece)
            if length >= first_end:
                seen = length
                break
        assert shown == text[: min(at for end, at in ends if end <= seen)]
    else:
        assert shown == text
