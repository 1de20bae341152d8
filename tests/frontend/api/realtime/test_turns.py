"""Where turns of speech begin and end: histories of questions and answers without a host."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.realtime.buffer import AudioBuffer
from frontend.api.realtime.turns import (
    LONGEST_TURN_MS,
    NEWS_MS,
    Started,
    Stopped,
    Turns,
    answered,
    kept_from,
    question,
)
from ipc.messages import SpeechDetected, SpeechSpan, VoiceActivity
from ipc.messages.transcription import MAX_DETECTION_SECONDS

VOICE = VoiceActivity(prefix_padding_ms=200, silence_duration_ms=500)
Span = tuple[int, int]


def detected(speech: list[Span], stretch: Span, voice: VoiceActivity) -> SpeechDetected:
    """What a perfect detector answers about a stretch of audio with speech at `speech`, in milliseconds."""
    begin, end = stretch
    spans: list[SpeechSpan] = []
    for start, stop in speech:
        start, stop = max(start, begin) - begin, min(stop, end) - begin
        if start >= stop:
            continue
        if spans and start - spans[-1].end * 1000 < voice.silence_duration_ms:
            spans[-1] = msgspec.structs.replace(spans[-1], end=stop / 1000)
        else:
            spans.append(SpeechSpan(start / 1000, stop / 1000))
    speaking = bool(spans) and (end - begin) - spans[-1].end * 1000 < voice.silence_duration_ms
    return SpeechDetected(1, (end - begin) / 1000, spans, speaking)


class Conversation:
    """A session's audio as it grows, and what became of it."""

    def __init__(self, speech: list[Span], voice: VoiceActivity) -> None:
        self.speech = speech
        self.voice = voice
        self.turns = Turns()
        self.kept = 0
        self.items: list[Span] = []

    def grow(self, end_ms: int) -> None:
        while (stretch := question(self.turns, self.voice, self.kept, end_ms)) is not None:
            assert self.kept <= stretch[0] < stretch[1] <= end_ms
            assert stretch[1] - stretch[0] <= MAX_DETECTION_SECONDS * 1000
            found = detected(self.speech, stretch, self.voice)
            began = self.turns.began_ms
            self.turns, changes = answered(self.turns, self.voice, stretch, found)
            for change in changes:
                match change:
                    case Started(at):
                        assert began is None
                        assert at >= self.kept
                        began = at
                    case Stopped(at):
                        assert began is not None
                        self.items.append((began, at))
                        began = None
            assert began == self.turns.began_ms
            kept = kept_from(self.turns, self.voice)
            self.kept = max(self.kept, kept)


def test_a_turn_has_its_padding_before_and_its_pause_behind():
    conversation = Conversation([(1000, 2000)], VOICE)
    for end in range(100, 4000, 100):
        conversation.grow(end)
    assert conversation.items == [(800, 2500)]


def test_it_is_reported_while_somebody_speaks():
    conversation = Conversation([(1000, 9000)], VOICE)
    conversation.grow(2000)
    assert conversation.turns.began_ms == 800
    assert conversation.items == []


def test_nothing_is_asked_about_too_little():
    assert question(Turns(heard_ms=1000), VOICE, 0, 1000 + NEWS_MS - 1) is None
    assert question(Turns(heard_ms=1000), VOICE, 0, 1000 + NEWS_MS) is not None


def test_a_turn_without_a_pause_ends_at_its_limit_and_the_next_begins_there():
    conversation = Conversation([(0, 100_000)], VOICE)
    for end in range(300, 103_000, 300):
        conversation.grow(end)
    first, second = conversation.items
    assert LONGEST_TURN_MS <= first[1] - first[0] <= LONGEST_TURN_MS + NEWS_MS
    assert second == (first[1], 100_500)


def test_what_turns_out_to_be_no_speech_ends_its_turn():
    turns, changes = answered(
        Turns(heard_ms=1000, began_ms=500), VOICE, (0, 3000), SpeechDetected(1, 3.0, [], speaking=False)
    )
    assert changes == [Stopped(3000)]
    assert turns.began_ms is None


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(100, 5000)), min_size=1, max_size=6),
    st.lists(st.integers(20, 8000), min_size=1, max_size=8),
    st.sampled_from([VOICE, VoiceActivity(), VoiceActivity(prefix_padding_ms=0, silence_duration_ms=2000)]),
)
def test_all_speech_is_in_exactly_one_item_however_the_audio_arrives(
    pauses_and_lengths: list[Span], chunks: list[int], voice: VoiceActivity
):
    speech, clock = [], 0
    for pause, length in pauses_and_lengths:
        speech.append((clock + pause, clock + pause + length))
        clock += pause + length
    conversation, arrived, turn = Conversation(speech, voice), 0, 0
    while arrived < clock + voice.silence_duration_ms + NEWS_MS:
        arrived += chunks[turn % len(chunks)]
        turn += 1
        conversation.grow(arrived)
    items = conversation.items
    assert conversation.turns.began_ms is None
    assert all(before[1] <= after[0] for before, after in pairwise(items))
    for start, stop in speech:
        assert sum(max(0, min(stop, end) - max(start, begin)) for begin, end in items) == stop - start


@given(st.lists(st.integers(0, 999)), st.sampled_from([8000, 16_000, 24_000, 44_100]))
def test_a_buffer_knows_its_samples_by_time(lengths: list[int], rate: int):
    buffer, whole = AudioBuffer(rate), b""
    for number, length in enumerate(lengths):
        chunk = bytes([number % 256]) * length
        whole += chunk
        buffer.append(chunk)
        middle = (buffer.start_ms + buffer.end_ms) // 2
        buffer.drop_before(middle)
        assert middle - 1 <= buffer.start_ms <= middle
        assert len(buffer.between(buffer.start_ms, buffer.end_ms)) % 2 == 0
    assert whole.endswith(buffer.between(buffer.start_ms, buffer.end_ms + 2))
