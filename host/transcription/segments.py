"""From what a model heard in a window to segments in the recording's time. Pure functions."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ipc.messages import Segment, Word

_NEAR = 0.3  # seconds by which a model's times may miss the speech they belong to
_SHORTEST = 0.02  # seconds of a segment or word, Whisper's own unit; less if the window is that short
_NOT_SPEECH = re.compile(r"[\[(（【♪*].*[\])）】♪*]|[^\w]*", re.DOTALL)  # [BLANK_AUDIO], (music), ♪


class HeardWord(NamedTuple):
    start: float
    end: float
    text: str


class HeardSegment(NamedTuple):
    start: float
    end: float  # below 0: the model gave none
    text: str


class Heard(NamedTuple):
    """Times are in seconds from the window's start."""

    language: str
    segments: list[HeardSegment]
    words: list[HeardWord]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


class Place(NamedTuple):
    """Where in the recording a window is, and where there is speech in it."""

    start: float
    end: float
    speech: Sequence[tuple[float, float]]


def placed(heard: Heard, place: Place) -> list[Segment]:
    """Segments with absolute times, in order, inside the window, of what was heard where somebody speaks."""
    kept: list[tuple[str, list[HeardWord]]] = []
    times: list[tuple[float, float]] = []  # of the words of all segments; of a segment that has none, its own
    for raw, words in zip(heard.segments, _words_of(heard.segments, heard.words), strict=True):
        text = raw.text.strip()
        start, end = _within(raw.start, raw.end, place)
        if not text or _NOT_SPEECH.fullmatch(text) or not _spoken(start, end, place):
            continue
        kept.append((text, words))
        times += _word_times(words, place) if words else [_snapped(start, end, place)]
    ordered = iter(_ordered(times, place))
    result: list[Segment] = []
    for text, words in kept:
        own = [Word(word.text.strip(), *next(ordered)) for word in words]
        start, end = (own[0].start, own[-1].end) if own else next(ordered)
        result.append(Segment(start, end, text, own))
    return result


def _ordered(times: list[tuple[float, float]], place: Place) -> list[tuple[float, float]]:
    """Times of which each begins after the one before has ended, inside the window, to milliseconds."""
    shortest = min(_SHORTEST, (place.end - place.start) / (2 * max(1, len(times))))
    clock, forward = place.start, []
    for start, end in times:
        start = max(start, clock)
        clock = max(end, start + shortest)
        forward.append((start, clock))
    limit, backward = place.end, []
    for start, end in reversed(forward):
        end = min(end, limit)
        limit = min(start, end - shortest)
        backward.append((round(limit, 3), round(end, 3)))
    return backward[::-1]


def _within(start: float, end: float, place: Place) -> tuple[float, float]:
    start = min(place.start + max(0.0, start), place.end)
    return start, place.end if end < 0 else max(start, min(place.start + end, place.end))


def _spoken(start: float, end: float, place: Place) -> bool:
    return any(start - _NEAR < speech[1] and speech[0] < end + _NEAR for speech in place.speech)


def _snapped(start: float, end: float, place: Place) -> tuple[float, float]:
    """Times that lie in a pause move to the speech they surround."""
    after = [speech for speech in place.speech if speech[1] > start]
    before = [speech for speech in place.speech if speech[0] < end]
    snapped_start = max(start, after[0][0]) if after else start
    snapped_end = min(end, before[-1][1]) if before else end
    return (snapped_start, snapped_end) if snapped_start < snapped_end else (start, end)


# --- words ---------------------------------------------------------------------------------------------


def _words_of(segments: list[HeardSegment], words: list[HeardWord]) -> Iterator[list[HeardWord]]:
    """The words of each segment. The engine also lists words of text that it dropped, to hear it again."""
    words = [word for word in words if word.text.strip()]
    position = 0
    for segment in segments:
        own: list[HeardWord] = []
        for begin in range(position, len(words)):
            own = _prefix(segment.text, words[begin:])
            if own:
                position = begin + len(own)
                break
        yield own


def _prefix(text: str, words: list[HeardWord]) -> list[HeardWord]:
    """The first words, if together they are the text; else none."""
    wanted, found = "".join(text.split()), ""
    for count, word in enumerate(words, 1):
        found += "".join(word.text.split())
        if not wanted.startswith(found):
            return []
        if found == wanted:
            return words[:count]
    return []


def _word_times(words: list[HeardWord], place: Place) -> list[tuple[float, float]]:
    """The first word of a segment begins where speech does: the engine adds the pause before it."""
    times = [_within(word.start, word.end, place) for word in words]
    start, end = times[0]
    speech = next((begin for begin, until in place.speech if until > start), start)
    if start < speech < end:
        times[0] = (speech, end)
    return times
