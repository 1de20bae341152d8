"""Transcription by a real model in a real host: Whisper tiny, which understands espeak-ng fairly well."""

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from host.audio.samples import RATE, Samples, silence
from ipc.errors import ErrorCode, RequestError
from ipc.messages import DetectSpeech, Embed, Failed, Ready, Transcribed, TranscriptionCard, VoiceActivity
from tests.host.audio.asking import (
    detected,
    replies,
    start_transcription,
    text_of,
    transcribed,
    transcription_launch,
)
from tests.host.audio.files import encoded
from tests.host.audio.speaking import speak
from tests.host.harness import HostUnderTest, host_running

MORNING = "In the morning, Doctor Smith walked to the market."
AIRPORT = "If an engine fails, the aircraft flies on to the next airport."


@pytest.fixture(scope="module")
def host(whisper_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(transcription_launch(whisper_ir)) as running:
        yield running


@pytest.fixture(scope="module")
def two_windows() -> Samples:
    """Two sentences, eight seconds apart."""
    return np.concatenate((silence(RATE), speak(MORNING), silence(8 * RATE), speak(AIRPORT), silence(RATE)))


def error_of(host: HostUnderTest, request_id: int) -> RequestError:
    return host.answer(Failed, request_id).error


def is_answered(host: HostUnderTest, request_id: int) -> bool:
    return any(isinstance(m, Transcribed) and m.last and m.request_id == request_id for m in host.received)


def pcm(samples: Samples) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def hears(text: str, *words: str) -> bool:
    return all(word in text.lower() for word in words)


def test_its_card_tells_what_it_can_do(host: HostUnderTest) -> None:
    ready: Ready[TranscriptionCard] = host.first(Ready)
    card = ready.card
    assert (card.languages, card.translates) == (["en"], False)
    assert card.slots > 1
    assert card.weights


def test_six_formats_of_one_recording_have_the_same_transcript(host: HostUnderTest) -> None:
    spoken = np.concatenate((speak(AIRPORT), silence(RATE)))
    texts = {kind: text_of(transcribed(host, encoded(spoken, kind))) for kind in FORMATS}
    assert hears(texts["wav"], "engine", "aircraft", "next airport")
    assert set(texts.values()) == {texts["wav"]}, texts


FORMATS = ("wav", "flac", "mp3", "opus", "webm", "m4a")


def test_times_are_those_of_the_recording(host: HostUnderTest, two_windows: Samples) -> None:
    parts = transcribed(host, encoded(two_windows, "flac"), word_times=True)
    first, second = (part for part in parts if not part.last)
    second_begins = 1 + len(speak(MORNING)) / RATE + 8
    assert hears(text_of([first]), "morning", "market")
    assert hears(text_of([second]), "engine", "airport")
    assert abs(first.segments[0].start - 1) < 0.5
    assert abs(second.segments[0].start - second_begins) < 0.5
    duration = len(two_windows) / RATE
    words = [word for part in parts for segment in part.segments for word in segment.words]
    assert all(one.start < one.end <= two.start for one, two in pairwise(words))
    assert words[-1].end <= duration
    assert parts[-1].last
    assert abs(parts[-1].duration - duration) < 0.1
    assert parts[-1].until == parts[-1].duration
    assert [part.language for part in parts] == ["en"] * 3


def test_words_are_those_of_the_segments(host: HostUnderTest) -> None:
    with_words = transcribed(host, encoded(speak(MORNING), "wav"), word_times=True)
    without = transcribed(host, encoded(speak(MORNING), "wav"))
    assert text_of(with_words) == text_of(without)
    for segment in with_words[0].segments:
        assert "".join(word.text for word in segment.words) == segment.text.replace(" ", "")
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    assert not any(segment.words for segment in without[0].segments)


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
def test_what_is_no_speech_has_an_empty_transcript(host: HostUnderTest, kind: str) -> None:
    time = np.arange(70 * RATE) / RATE
    sounds: dict[str, Samples] = {
        "silence": silence(70 * RATE),
        "noise": np.random.default_rng(0).normal(0, 0.2, 70 * RATE).astype(np.float32).clip(-1, 1),
        "tone": (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32),
    }
    (only,) = transcribed(host, encoded(sounds[kind], "wav"))
    assert (only.segments, only.last, only.duration) == ([], True, 70)


def test_who_continues_gets_what_is_left(host: HostUnderTest, two_windows: Samples) -> None:
    file = encoded(two_windows, "mp3")
    whole = transcribed(host, file)
    fields = {"resume_windows": 1, "resume_seconds": whole[0].until}
    rest = transcribed(host, file, **fields)
    assert [(part.until, part.segments, part.last, part.duration) for part in rest] == [
        (part.until, part.segments, part.last, part.duration) for part in whole[1:]
    ]


def test_raw_pcm_of_any_rate(host: HostUnderTest) -> None:
    spoken = pcm(speak(AIRPORT))
    assert hears(text_of(transcribed(host, spoken, pcm_rate=RATE)), "engine", "airport")
    error = error_of(host, start_transcription(host, spoken, pcm_rate=7))
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "pcm_rate")


def test_a_prompt_and_keywords_leave_the_text_whole(host: HostUnderTest) -> None:
    odd = "<|endoftext|> <|0.00|> A talk about planes. " * 100
    given = transcribed(host, encoded(speak(AIRPORT), "wav"), prompt=odd, keywords=["aircraft", "a" * 5000])
    assert hears(text_of(given), "engine", "airport")
    assert transcribed(host, encoded(speak(AIRPORT), "wav"), temperature=1.0)[-1].last


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "de"}, "language"),
        ({"language": "english"}, "language"),
        ({"translate": True}, "model"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_name(
    host: HostUnderTest, fields: dict[str, object], param: str
) -> None:
    error = error_of(host, start_transcription(host, encoded(silence(RATE), "wav"), **fields))
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, param)


def test_damaged_files_fail_alone(host: HostUnderTest) -> None:
    good = start_transcription(host, encoded(speak(AIRPORT), "wav"))
    for file in (b"", b"RIFF", bytes(100_000), encoded(silence(RATE), "m4a")[:300]):
        assert error_of(host, start_transcription(host, file)).param == "file"
    assert hears(text_of(replies(host, good)), "airport")
    embed = host.send(Embed(0, b""))
    assert error_of(host, embed).param == "model"


def test_recordings_take_turns(host: HostUnderTest, two_windows: Samples) -> None:
    long = start_transcription(host, encoded(np.tile(two_windows, 2), "flac"))
    short = start_transcription(host, encoded(speak(AIRPORT), "flac"))
    replies(host, short)
    assert not is_answered(host, long)
    assert len(replies(host, long)) == 4


def test_a_cancelled_recording_is_forgotten(host: HostUnderTest, two_windows: Samples) -> None:
    doomed = start_transcription(host, encoded(np.tile(two_windows, 3), "flac"))
    host.wait(lambda: bool(host.gauges and host.gauges.running))
    host.cancel(doomed)
    after = start_transcription(host, encoded(speak(AIRPORT), "flac"))
    assert replies(host, after)[-1].last
    host.wait(lambda: host.gauges is not None and not host.gauges.running and not host.gauges.waiting)
    assert not is_answered(host, doomed)


def test_an_error_of_the_engine_fails_its_request_alone(host: HostUnderTest) -> None:
    bad = start_transcription(host, encoded(speak(MORNING), "wav", metadata="[[fault:raise]]"))
    assert error_of(host, bad).code is ErrorCode.ENGINE_FAILED
    assert hears(text_of(transcribed(host, encoded(speak(AIRPORT), "wav"))), "airport")


def test_limits_and_faults(whisper_ir: Path, two_windows: Samples) -> None:
    with host_running(transcription_launch(whisper_ir, max_audio_seconds=20.0)) as host:
        error = error_of(host, start_transcription(host, encoded(silence(21 * RATE), "mp3")))
        assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "file")
        assert "20 seconds" in error.message
        assert transcribed(host, encoded(silence(19 * RATE), "mp3"))[-1].last

        marked = encoded(two_windows, "flac", metadata="[[fault:segv@1]]")
        request = start_transcription(host, marked)
        assert host.wait_exit() == -signal.SIGSEGV
        assert not any(getattr(m, "request_id", None) == request for m in host.received)


# --- voice activity -----------------------------------------------------------------------------------


def test_speech_is_detected_at_once(host: HostUnderTest, two_windows: Samples) -> None:
    busy = start_transcription(host, encoded(two_windows, "flac"))
    found = detected(host, pcm(two_windows))
    assert len(found.spans) == 2
    assert abs(found.spans[0].start - 1) < 0.2
    assert not found.speaking
    assert abs(found.duration - len(two_windows) / RATE) < 0.01
    assert replies(host, busy)[-1].last


def test_whether_somebody_still_speaks(host: HostUnderTest) -> None:
    spoken = speak(AIRPORT)
    activity = VoiceActivity(silence_duration_ms=700)
    assert detected(host, pcm(spoken[: 2 * RATE]), voice_activity=activity).speaking
    for pause, speaking in ((0.4, True), (1.5, False)):
        sound = pcm(np.concatenate((spoken, silence(int(pause * RATE)))))
        assert detected(host, sound, voice_activity=activity).speaking is speaking
    assert detected(host, pcm(silence(RATE)), pcm_rate=24_000).spans == []
    assert detected(host, b"").duration == 0


def test_more_than_a_minute_is_refused(host: HostUnderTest) -> None:
    lease = host.arena.lease(2 * 61 * RATE)
    assert lease is not None
    assert "60 seconds" in error_of(host, host.send(DetectSpeech(0, lease))).message
