"""Where turns of speech begin and end, from what hosts detect in stretches of a session's audio.

Pure. Positions are milliseconds of the session's audio, from its beginning. Hosts are asked about overlapping
stretches and keep nothing in between, so that any of them can answer the next question.
"""

import msgspec

from ipc.messages import SpeechDetected, VoiceActivity

FRAME_MS = (
    32  # of voice activity detection: all questions are about frames of one grid, so that answers agree
)
NEWS_MS = 300  # of new audio for which it is worth asking
CONTEXT_MS = 1000  # heard before what is new, besides the pause that ends a turn
LONGEST_QUESTION_MS = 30_000
LONGEST_TURN_MS = 60_000  # then it ends without a pause


class Started(msgspec.Struct, frozen=True):
    """A turn began. `at_ms` is where its audio begins, the padding included."""

    at_ms: int


class Stopped(msgspec.Struct, frozen=True):
    """The turn ended. `at_ms` is where its audio ends, the pause included."""

    at_ms: int


class Turns(msgspec.Struct, frozen=True):
    """What has been decided so far."""

    heard_ms: int = 0  # what was before has been asked about
    taken_ms: int = 0  # what was before belongs to a turn that has ended
    began_ms: int | None = None  # where the audio of the present turn begins


def question(turns: Turns, voice: VoiceActivity, start_ms: int, end_ms: int) -> tuple[int, int] | None:
    """The stretch to ask about next, of audio that is there from `start_ms` to `end_ms`; None: too little is
    new."""
    if end_ms - turns.heard_ms < NEWS_MS:
        return None
    begin = max(turns.taken_ms, turns.heard_ms - CONTEXT_MS - voice.silence_duration_ms)
    begin = max(start_ms, begin - begin % FRAME_MS)
    return begin, min(end_ms, max(begin, turns.heard_ms) + LONGEST_QUESTION_MS)


def answered(
    turns: Turns, voice: VoiceActivity, stretch: tuple[int, int], found: SpeechDetected
) -> tuple[Turns, list[Started | Stopped]]:
    """What follows from an answer about a stretch."""
    begin, end = stretch
    began, taken, ongoing = turns.began_ms, turns.taken_ms, False
    changes: list[Started | Stopped] = []
    for span in found.spans:
        start, stop = begin + round(span.start * 1000), begin + round(span.end * 1000)
        if stop <= taken:
            continue
        if began is None:
            began = max(taken, start - voice.prefix_padding_ms)
            changes.append(Started(began))
        ongoing = found.speaking and span is found.spans[-1]
        if not ongoing:
            began, taken = None, min(end, stop + voice.silence_duration_ms)
            changes.append(Stopped(taken))
    if began is not None and (not ongoing or end - began >= LONGEST_TURN_MS):
        began, taken = None, end
        changes.append(Stopped(end))
    return Turns(heard_ms=end, taken_ms=taken, began_ms=began), changes


def kept_from(turns: Turns, voice: VoiceActivity) -> int:
    """Audio before this position is not needed any more, neither for a turn nor for a question."""
    heard_again = turns.heard_ms - CONTEXT_MS - voice.silence_duration_ms - voice.prefix_padding_ms
    needed = heard_again if turns.began_ms is None else min(turns.began_ms, heard_again)
    return max(0, needed - FRAME_MS)
