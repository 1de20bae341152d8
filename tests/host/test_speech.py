"""Speech by a real model in real hosts: Kokoro-82M, computed by both libraries."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from host.kokoro.joining import pause_seconds
from ipc.errors import ErrorCode
from ipc.messages import (
    Embed,
    Failed,
    Fatal,
    Ready,
    Speak,
    SpeechCard,
    SpeechInput,
    SpeechOptions,
    Spoken,
    VoiceWeight,
)
from ipc.messages.speech import Library
from tests.host.harness import HostUnderTest, host_running, launch_of

RATE = 24_000
THREE = "Good morning there. I am well, thank you. See you again."
HEART = [VoiceWeight("af_heart", 1.0)]


@pytest.fixture(scope="module")
def compiled() -> Iterator[Path]:
    """Where the first host leaves its compiled model for the others."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def speech_launch(path: Path, compiled: Path, library: Library = "genai") -> Any:
    properties = {"CACHE_DIR": str(compiled)}
    return launch_of(path, engine="speech", options=SpeechOptions(library), properties=properties)


@pytest.fixture(scope="module")
def host(kokoro_ir: Path, compiled: Path) -> Iterator[HostUnderTest]:
    with host_running(speech_launch(kokoro_ir, compiled)) as running:
        yield running


@pytest.fixture(scope="module")
def native(kokoro_ir: Path, compiled: Path) -> Iterator[HostUnderTest]:
    with host_running(speech_launch(kokoro_ir, compiled, "openvino")) as running:
        yield running


class Speech(NamedTuple):
    replies: list[Spoken]

    @property
    def data(self) -> bytes:
        return b"".join(bytes(reply.payload) for reply in self.replies)  # type: ignore[arg-type]

    @property
    def samples(self) -> np.ndarray:
        """Of raw PCM, from -1 to 1."""
        return np.frombuffer(self.data, "<i2").astype(np.float32) / 32767

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def start(host: HostUnderTest, text: str, **fields: Any) -> int:
    fields = {"voice": HEART, "format": "pcm", "speed": 4.0, **fields}
    return host.send(Speak(0, msgspec.msgpack.encode(SpeechInput(text)), **fields))


def replies_of(host: HostUnderTest, request_id: int) -> list[Spoken]:
    return [m for m in host.received if isinstance(m, Spoken) and m.request_id == request_id]


def finish(host: HostUnderTest, request_id: int) -> Speech:
    def ended() -> bool:
        failed = [m for m in host.received if isinstance(m, Failed) and m.request_id == request_id]
        assert not failed, failed
        return any(reply.ends for reply in replies_of(host, request_id))

    host.wait(ended)
    return Speech(replies_of(host, request_id))


def speak(host: HostUnderTest, text: str, **fields: Any) -> Speech:
    return finish(host, start(host, text, **fields))


def refusal(host: HostUnderTest, text: str = "Hello.", **fields: Any) -> Any:
    return host.answer(Failed, start(host, text, **fields)).error


def runs_of_silence(samples: np.ndarray) -> list[float]:
    """The seconds of each stretch that is silent for at least 50 ms."""
    window = RATE // 200
    quiet = np.abs(samples[: len(samples) // window * window]).reshape(-1, window).max(axis=1) < 1e-3
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet, [0]))))
    return [
        (end - begin) / 200 for begin, end in zip(edges[::2], edges[1::2], strict=True) if end - begin >= 10
    ]


# --- what a host makes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(host: HostUnderTest) -> Speech:
    """Read once, for several tests."""
    return speak(host, THREE, speed=2.0)


@pytest.fixture(scope="module")
def hello(host: HostUnderTest) -> Speech:
    return speak(host, "Hello.")


def test_each_sentence_is_a_reply_and_the_last_one_ends_the_file(three):
    assert [reply.last for reply in three.replies] == [False, False, False, True]
    assert [reply.units for reply in three.replies] == [1, 1, 1, 0]
    assert sum(reply.samples for reply in three.replies) == len(three.samples)
    assert 2 < three.seconds < 5


def test_sentences_are_joined_without_clicks_and_surplus_silence(three):
    pause = pause_seconds("x.", 2.0)
    pauses = [silent for silent in runs_of_silence(three.samples) if silent > 0.2]
    assert len(pauses) == 3  # one after each sentence
    assert max(pauses) < pause + 0.15
    at = 0
    for reply in three.replies[:-1]:
        assert abs(three.samples[at]) < 1e-3
        at += reply.samples
        assert not three.samples[at - round(pause * RATE) + 1 : at].any()
    assert np.abs(three.samples).max() > 0.1


def test_a_host_that_continues_makes_the_same_samples(host, three):
    sent = three.replies[0].samples + three.replies[1].samples
    rest = speak(host, THREE, speed=2.0, resume_sentences=2, resume_samples=sent)
    np.testing.assert_array_equal(rest.samples, three.samples[sent:])
    ended = speak(host, THREE, speed=2.0, resume_sentences=3, resume_samples=len(three.samples))
    assert [(reply.last, reply.payload) for reply in ended.replies] == [(True, b"")]


@pytest.mark.parametrize("library", ["host", "native"])
def test_a_card_lists_the_voices_that_can_be_served(library, request):
    ready: Ready[SpeechCard] = request.getfixturevalue(library).first(Ready)
    card = ready.card
    languages = {voice.name: voice.language for voice in card.voices}
    assert (languages["af_heart"], languages["bf_emma"], languages["ef_dora"]) == ("en-US", "en-GB", "es")
    assert not [name for name in languages if name[0] in "jz"]
    assert card.sample_rate == RATE
    assert "fp16" in card.weights


def test_the_libraries_take_about_as_long_for_the_same_words(three, native):
    spoken = speak(native, "Good morning there.", speed=2.0)
    assert 0.75 < spoken.replies[0].samples / three.replies[0].samples < 1.33


def test_speed_changes_durations(host, hello):
    slow = speak(host, "Hello.", speed=0.5)
    assert 3 < sound(slow) / sound(hello) < 9
    assert max(runs_of_silence(slow.samples)) <= pause_seconds("Hello.", 0.5) + 0.15


def sound(spoken: Speech) -> float:
    """Seconds that are not the pause at the end."""
    return float(np.flatnonzero(spoken.samples)[-1]) / RATE


def test_a_blend_is_not_its_first_voice(host, hello):
    blended = speak(host, "Hello.", voice=[VoiceWeight("af_heart", 0.7), VoiceWeight("am_adam", 0.3)])
    assert sound(blended) > 0.15
    assert blended.data != hello.data


def test_unknown_words_are_heard(host, native):
    assert sound(speak(host, "zyxxqub Привет")) > sound(speak(host, "zyxxqub")) + 0.1 > 0.25
    assert sound(speak(native, "Привет")) > 0.15


@pytest.mark.parametrize("library", ["host", "native"])
def test_other_languages_are_spoken(library, request):
    spoken = speak(request.getfixturevalue(library), "Buenos días.", voice=[VoiceWeight("ef_dora", 1.0)])
    assert 0.2 < sound(spoken) < 1


def test_audio_is_encoded_as_one_file(host):
    assert speak(host, "Hello.", format="flac").data[:4] == b"fLaC"


# --- several requests -----------------------------------------------------------------------------------


def test_requests_take_turns_sentence_by_sentence(host):
    first = start(host, "It is the first. It is the second. It is the third.")
    host.wait(lambda: replies_of(host, first))
    finish(host, start(host, "A new one comes."))
    assert not any(reply.ends for reply in replies_of(host, first))
    assert len(finish(host, first).replies) == 4


def test_a_cancelled_request_makes_no_more_replies(host):
    cancelled = start(host, THREE, speed=2.0)
    host.wait(lambda: replies_of(host, cancelled))
    host.cancel(cancelled)
    speak(host, "Next.")
    assert len(replies_of(host, cancelled)) < 4
    host.wait(lambda: host.gauges is not None and host.gauges.running == host.gauges.waiting == 0)


# --- what is refused, and what fails ----------------------------------------------------------------------


def test_refusals_name_the_parameter(host):
    assert refusal(host, voice=[VoiceWeight("af_nobody", 1.0)]).param == "voice"
    assert "pyopenjtalk" in refusal(host, voice=[VoiceWeight("jf_alpha", 1.0)]).message
    assert refusal(host, speed=5.0).param == "speed"
    assert refusal(host, speed=float("nan")).param == "speed"
    for text in ("", " \n", "...", "😀"):
        assert refusal(host, text).param == "input"
    refused = host.answer(Failed, host.send(Embed(0, b"")))
    assert "does not serve embed requests" in refused.error.message


def test_a_failing_call_fails_its_request_alone(host):
    error = refusal(host, "Bad [[fault:raise]] one.")
    assert error.code is ErrorCode.ENGINE_FAILED
    assert sound(speak(host, "Hello.")) > 0.1


def test_without_the_extra_english_is_spelled_and_other_languages_are_refused(
    kokoro_ir, compiled, tmp_path, monkeypatch
):
    hide_extra(tmp_path, monkeypatch)
    with host_running(speech_launch(kokoro_ir, compiled)) as host:
        ready: Ready[SpeechCard] = host.first(Ready)
        assert {voice.language for voice in ready.card.voices} == {"en-US", "en-GB"}
        assert sound(speak(host, "zyxxqub", speed=1.0)) > 1.1
        assert (
            "needs espeak-ng; install it with: pip install"
            in refusal(host, voice=[VoiceWeight("ef_dora", 1.0)]).message
        )
        dies_at_a_sentence(host)


def dies_at_a_sentence(host: HostUnderTest) -> None:
    """Before it has sent the second one, so that each host dies at the same point."""
    doomed = start(host, "Good day [[fault:segv@2]] to you. Then there is more to say. And more.")
    assert host.wait_exit() == -signal.SIGSEGV
    assert [reply.units for reply in replies_of(host, doomed)] == [1]


def test_openvino_alone_needs_the_extra(kokoro_ir, compiled, tmp_path, monkeypatch):
    hide_extra(tmp_path, monkeypatch)
    assert "pip install 'nacelle-server[speech]'" in reason(speech_launch(kokoro_ir, compiled, "openvino"))


def hide_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For hosts that are started from now on."""
    (folder / "espeakng_loader.py").write_text("raise ImportError")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def reason(launch: Any) -> str:
    """Why a host with this launch does not start."""
    host = HostUnderTest(launch)
    try:
        fatal = host.first(Fatal)
        host.wait_exit()
    finally:
        host.close()
    assert fatal.permanent
    return fatal.reason


def test_faults_of_a_folder_are_reported_by_name(kokoro_ir: Path, compiled: Path, tmp_path: Path):
    folder = tmp_path / "m"
    shutil.copytree(kokoro_ir, folder, copy_function=lambda a, b: Path(b).symlink_to(a))
    shutil.rmtree(folder / "data")
    assert "lacks us_gold.json" in reason(speech_launch(folder, compiled))
