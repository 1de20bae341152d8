"""From what a model heard in a window to segments in the recording's time. Pure functions."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ipc.messages import Segment, Word

_NEAR = 0.3  # seconds by which a model's times may miss the speech they belong to
_SHORTEST = 0.02  # seconds of a segment or word, Whisper's own unit
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
    words = _words_of(heard.segments, heard.words)
    clock = place.start
    result: list[Segment] = []
    for raw, own in zip(heard.segments, words, strict=True):
        text = raw.text.strip()
        start, end = _within(raw, place)
        if not text or _NOT_SPEECH.fullmatch(text) or not _spoken(start, end, place):
            continue
        timed = _timed(own, place, clock)
        if timed:
            start, end = timed[0].start, timed[-1].end
        else:
            start, end = _snapped(start, end, place)
        start = min(max(start, clock), place.end)
        end = min(max(end, start + _SHORTEST), max(place.end, start))
        result.append(Segment(round(start, 3), round(end, 3), text, timed))
        clock = end
    return result


def _within(raw: HeardSegment, place: Place) -> tuple[float, float]:
    start = min(place.start + max(0.0, raw.start), place.end)
    end = place.end if raw.end < 0 else min(place.start + raw.end, place.end)
    return start, max(start, end)


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


def _timed(words: list[HeardWord], place: Place, clock: float) -> list[Word]:
    """Words with absolute times, each after the one before, inside the window."""
    named = [word for word in words if word.text.strip()]
    result: list[Word] = []
    for index, word in enumerate(named):
        left = (len(named) - index) * _SHORTEST  # the time that this word and those after it need
        earliest = clock
        latest = max(earliest, place.end - left)
        start = min(max(place.start + word.start, earliest), latest)
        speech = next((begin for begin, end in place.speech if end > start), start)
        if index == 0 and start < speech < place.start + word.end - _SHORTEST:
            start = min(speech, latest)
        end = min(max(place.start + word.end, start + _SHORTEST), max(latest + _SHORTEST, start + _SHORTEST))
        result.append(Word(word.text.strip(), round(start, 3), round(end, 3)))
        clock = result[-1].end
    return result
