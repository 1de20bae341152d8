"""Windows: where recordings are cut, as a function of voice activity."""

import itertools
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from host.audio.recording import Recording, SpokenWindow
from host.audio.samples import RATE, Samples, silence
from host.audio.vad import FRAME, LoudnessDetector
from host.audio.windows import MAX_WINDOW, next_window, settings_of, speech_spans, utterances
from ipc.messages import VoiceActivity

SETTINGS = settings_of(VoiceActivity())
PADDING = 0.32  # what 300 ms may be in whole frames
FRAME_SECONDS = FRAME / RATE


def sound(*parts: tuple[str, float]) -> Samples:
    """Noise where there is "speech", which is what loudness takes for speech, and silence elsewhere."""
    noise = np.random.default_rng(0)
    pieces = [
        noise.normal(0, 0.1, int(seconds * RATE)) if kind == "speech" else silence(int(seconds * RATE))
        for kind, seconds in parts
    ]
    return np.concatenate(pieces).astype(np.float32).clip(-1, 1)


def blocks_of(samples: Samples, size: int) -> Iterator[Samples]:
    return (samples[at : at + size] for at in range(0, len(samples), size))


def windows_of(samples: Samples, start: float = 0.0, block: int = RATE) -> list[SpokenWindow]:
    recording = Recording(blocks_of(samples, block), LoudnessDetector(), SETTINGS, start)
    found = []
    while not recording.ended:
        window = recording.advance()
        if window is not None:
            found.append(window)
    assert recording.duration == len(samples) / RATE
    return found


def spans(samples: Samples) -> list[tuple[float, float]]:
    return [(window.start, window.end) for window in windows_of(samples)]


def test_silence_has_no_window() -> None:
    assert windows_of(silence(200 * RATE)) == []
    assert windows_of(silence(0)) == []


def test_a_click_is_no_speech() -> None:
    assert windows_of(sound(("silence", 2), ("speech", 0.05), ("silence", 8))) == []


def test_speech_has_a_little_silence_around_it() -> None:
    ((start, end),) = spans(sound(("silence", 5), ("speech", 4), ("silence", 5)))
    assert 5 - PADDING <= start < 5 < 9 < end <= 9 + PADDING + FRAME_SECONDS


def test_a_short_pause_stays_inside_and_a_long_one_divides() -> None:
    assert len(spans(sound(("speech", 4), ("silence", 1.5), ("speech", 4), ("silence", 2)))) == 1
    assert len(spans(sound(("speech", 4), ("silence", 4), ("speech", 4), ("silence", 2)))) == 2


def test_a_window_is_cut_in_the_last_pause_that_fits() -> None:
    parts = [("speech", 6.0), ("silence", 0.6)] * 10
    found = spans(sound(*parts))
    assert 25 < found[0][1] < 27
    for start, end in found:
        assert end - start <= MAX_WINDOW * FRAME_SECONDS
        assert end % 6.6 > 5.9, "inside a pause"


def test_a_cut_leaves_room_behind_the_last_sentence_but_a_recording_that_fits_is_not_cut() -> None:
    parts = [("speech", 2.5), ("silence", 0.4)] * 20  # the tenth ends after 28.6 seconds
    for window in windows_of(sound(*parts))[:-1]:
        assert 24 < window.speech[-1][1] - window.start <= 28
    assert len(windows_of(sound(*parts[:19], ("speech", 0.3)))) == 1


def test_a_late_pause_is_better_than_none() -> None:
    (_, end), _ = spans(sound(("speech", 28.6), ("silence", 0.6), ("speech", 4)))
    assert 28.6 < end < 29.2, "in the pause, though a second pass is likely"


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    samples = sound(("speech", 40))
    samples[26 * RATE : 26 * RATE + 4000] *= 0.3
    assert abs(spans(samples)[0][1] - 26.1) < 0.15


def test_windows_lose_no_speech() -> None:
    for seconds in (29.0, 30.0, 31.0, 95.0):
        found = spans(sound(("silence", 1), ("speech", seconds), ("silence", 1)))
        assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
        assert found[0][0] < 1
        assert found[-1][1] > 1 + seconds


def test_windows_hold_the_sound_of_their_time() -> None:
    samples = sound(("silence", 3.3), ("speech", 50), ("silence", 9), ("speech", 2))
    for window in windows_of(samples):
        start = round(window.start * RATE)
        assert np.array_equal(window.samples, samples[start : start + len(window.samples)])
        assert len(window.samples) == round((window.end - window.start) * RATE)


PARTS = st.lists(
    st.tuples(st.sampled_from(["speech", "silence"]), st.floats(0.05, 45)), min_size=1, max_size=8
)


@settings(max_examples=20)
@given(PARTS, st.sampled_from([1600, 20_000, 100_000]))
def test_who_continues_at_a_cut_finds_the_same_windows(parts: list[tuple[str, float]], block: int) -> None:
    samples = sound(*parts)
    whole = windows_of(samples)
    assert [window[1:] for window in windows_of(samples, block=block)] == [window[1:] for window in whole]
    for index, window in enumerate(whole[:-1]):
        rest = windows_of(samples, window.until, block)
        assert [each[1:] for each in rest] == [each[1:] for each in whole[index + 1 :]]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), max_size=2000), st.booleans())
def test_no_voice_activity_breaks_the_cutting(values: list[float], ended: bool) -> None:
    probabilities = np.array(values, np.float32)
    samples = silence(len(values) * FRAME)
    window = next_window(probabilities, samples, ended, SETTINGS)
    if window is None:
        assert not ended or probabilities.max(initial=0) < SETTINGS.threshold
    else:
        assert 0 <= window.start < window.end <= min(len(values), window.start + MAX_WINDOW)
        assert all(window.start <= span.start < span.end <= window.end for span in window.speech)


def test_pauses_shorter_than_an_utterances_end_do_not_divide_it() -> None:
    def found(pause: int) -> int:
        probabilities = np.array([0.9] * 20 + [0.0] * pause + [0.9] * 20, np.float32)
        return len(utterances(probabilities, SETTINGS))

    assert (found(SETTINGS.silence - 1), found(SETTINGS.silence)) == (1, 2)


def test_speech_goes_on_while_its_probability_only_dips() -> None:
    probabilities = np.array([0.1, 0.6, 0.4, 0.4, 0.2, 0.4], np.float32)
    assert speech_spans(probabilities, SETTINGS, 1) == [(1, 4)]


def test_decoding_goes_on_in_turns() -> None:
    recording = Recording(blocks_of(silence(200 * RATE), RATE), LoudnessDetector(), SETTINGS, 0.0)
    assert recording.advance() is None
    assert not recording.ended
    assert recording.duration == 60
