import math

from bench.long_recording import Comparison, Segment, compared

TEXT = "The captain followed the river. In the morning, the teacher opened every window."


def passage(start: float, text: str = TEXT) -> list[Segment]:
    """A passage of two segments that begins at `start`."""
    first, second = text.split(". ")
    return [Segment(start, start + 2, f" {first}."), Segment(start + 3, start + 5, f" {second}")]


def test_passages_in_their_places() -> None:
    segments = [segment for index in range(4) for segment in passage(0.2 + 10 * index)]
    assert compared(segments, 10, 4) == Comparison(4, [], 0)


def test_a_drift_shows_at_the_end() -> None:
    segments = [segment for index in range(4) for segment in passage(0.2 + 10.5 * index)]
    assert compared(segments, 10, 4) == Comparison(4, [], 1.5)


def test_missing_and_different_passages() -> None:
    segments = passage(0) + passage(10, "Nobody remembered it. What else") + passage(30)
    assert compared(segments, 10, 4) == Comparison(4, [1, 2], 0)


def test_a_transcript_that_ends_early() -> None:
    found = compared(passage(0), 10, 2)
    assert found.misplaced == [1]
    assert math.isinf(found.last_off)
