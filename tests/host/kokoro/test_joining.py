"""Sentences are joined without surplus silence, without clicks, and without a clipped sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.kokoro.joining import joined, pause_seconds, trimmed
from host.speech.encoder import PAUSE_SECONDS

RATE = 24_000
TONE = np.sin(np.arange(RATE // 2) * 0.1).astype(np.float32) * 0.2  # half a second


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def within(sound: np.ndarray, lead: float, tail: float) -> np.ndarray:
    return np.concatenate((silence(lead), sound, silence(tail)))


def loud(samples: np.ndarray) -> np.ndarray:
    kept: np.ndarray = samples[np.abs(samples) > 0.1]
    return kept


@pytest.mark.parametrize(("lead", "tail"), [(0.3, 0.5), (1.7, 2.0), (0.0, 0.0), (0.01, 0.02)])
def test_silence_is_trimmed_and_no_sound(lead, tail):
    kept = trimmed(within(TONE, lead, tail), RATE)
    assert len(TONE) <= len(kept) + 1 <= len(TONE) + 0.1 * RATE
    if lead >= 0.01:
        np.testing.assert_array_equal(loud(kept), loud(TONE))


def test_a_soft_beginning_and_a_soft_end_are_kept():
    """An h begins, and a nasal ends, at a fiftieth of a vowel's loudness."""
    soft = np.random.default_rng(1).normal(0, 0.002, RATE // 10).astype(np.float32)
    kept = trimmed(within(np.concatenate((soft, TONE, soft)), 0.3, 0.5), RATE)
    assert len(kept) >= len(TONE) + 2 * len(soft)


def test_joins_begin_and_end_at_zero():
    for lead in (0.3, 0.0):
        kept = trimmed(within(TONE, lead, lead), RATE)
        assert kept[0] == kept[-1] == 0
        assert np.abs(np.diff(kept)).max() < 0.04  # the tone itself has 0.02, and breaks off at 0.037


def test_silence_alone_becomes_the_pause_only():
    assert len(trimmed(silence(1.0), RATE)) == 0
    assert len(trimmed(silence(0), RATE)) == 0
    assert not joined(silence(1.0), "…", 1.0, RATE).any()


def test_pauses_follow_punctuation_and_speed():
    assert pause_seconds("One.", 1.0) > pause_seconds("one,", 1.0) > pause_seconds("one", 1.0)
    assert pause_seconds('He said "no."', 1.0) == pause_seconds("No.", 1.0)
    assert pause_seconds("One.", 0.5) == 2 * pause_seconds("One.", 1.0)
    assert pause_seconds("One.", 4.0) == PAUSE_SECONDS  # what encoders need


@given(st.integers(0, 3000), st.integers(0, 3000), st.floats(0.02, 1.0))
def test_nothing_loud_is_ever_lost(before, after, volume):
    sound = TONE[:2400] * np.float32(volume)
    kept = trimmed(np.concatenate((silence(before / RATE), sound, silence(after / RATE))), RATE)
    assert len(kept) >= len(sound) - 1
    assert np.square(kept).sum() > 0.9 * np.square(sound).sum()
