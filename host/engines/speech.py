"""Reads texts aloud with Kokoro: sentences → samples → one audio file, whose bytes are sent as they come.

One sentence is one native call, in a thread. Requests take turns after each sentence, and a cancelled one is
dropped between sentences.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import openvino_genai as genai

from host.engines.base import Body, EngineLost, invalid, not_served
from host.engines.failures import ENGINE_FAILED
from host.engines.pipeline import device_name
from host.engines.quantization import given_properties
from host.facts import inference_threads, weights_format
from host.kokoro.joining import joined
from host.kokoro.languages import Language
from host.kokoro.parts import parts_to_read
from host.kokoro.speaker import CONTEXT, SAMPLE_RATE, Speaker, Unreadable
from host.kokoro.turns import Turns
from host.kokoro.voices import Styles, Voices
from host.model_folder import fingerprint
from host.native_errors import is_short_of_memory, is_wedged, summary
from host.one_shot import OneShot
from host.results import ResultQueue, Results
from host.speech.encoder import Encoder
from host.stall import StallBudget
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Failed,
    Gauges,
    Launch,
    Payload,
    Reply,
    Speak,
    SpeechCard,
    SpeechInput,
    SpeechOptions,
    Spoken,
    VoiceWeight,
    Work,
)

SLOTS = 16  # requests that take turns
_POLL_SECONDS = 0.01  # new requests are received this often while a sentence is computed
_PROBE = "Yes."  # read at the start, and to find out whether the model still works
_SPEEDS = (0.25, 4.0)  # as in the OpenAI API
# With fewer bits, phases drift and voices become hoarse.
_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
# The CPU plugin keeps kernels of each length of text, 10 MB or so: those of the last 30 or so.
_KERNELS = {"CPU_RUNTIME_CACHE_CAPACITY": "1000"}


class _Speech:
    """One request, from its text to the end of its file."""

    def __init__(
        self, work: Speak, parts: list[str], language: Language, styles: Styles, resumed_samples: int
    ) -> None:
        self.request_id = work.request_id
        self.language, self.styles, self.speed = language, styles, work.speed
        self.parts = parts  # that are left to read
        self.poisoned = False
        self.trailer: bytes | None = None  # what ends the file, once all is read
        self._encoder = Encoder(work.format, SAMPLE_RATE)
        self._skip = resumed_samples

    def spoken(self, speaker: Speaker) -> "_Sentence":
        """The next part. Called in the thread, as encoding takes time, too."""
        if self._skip:
            self._encoder.skip(self._skip)
            self._skip = 0
        text = self.parts[0]
        styles = self.styles[:, :, :1] if self.poisoned else self.styles  # no model takes one of that shape
        samples = joined(
            speaker.say(text, self.language, np.ascontiguousarray(styles), self.speed),
            text,
            self.speed,
            SAMPLE_RATE,
        )
        encoded = self._encoder.add(samples)
        trailer = self._encoder.finish() if len(self.parts) == 1 else None
        return _Sentence(len(samples), encoded, trailer)

    def ended(self) -> bytes:
        """What ends a file of which all sentences were sent by an earlier host."""
        self._encoder.skip(self._skip)
        return self._encoder.finish()


class _Sentence(NamedTuple):
    samples: int
    encoded: bytes
    trailer: bytes | None  # after the last one


class SpeechEngine:
    """Implements host.engines.base.Engine."""

    def __init__(
        self, card: SpeechCard, speaker: Speaker, voices: Voices, results: Results, stall_seconds: float
    ) -> None:
        self.card = card
        self._speaker = speaker
        self._voices = voices
        self._calls: OneShot[_Sentence | None] = OneShot(StallBudget(stall_seconds))
        self._running: tuple[Future[_Sentence | None], _Speech | None] | None = None  # None: a probe
        self._live: dict[int, _Speech] = {}
        self._turns: Turns[_Speech] = Turns()
        self._results = ResultQueue(results)
        self._doubtful = False  # a call failed: the model must show that it still works

    @property
    def busy(self) -> bool:
        return bool(self._live) or self._running is not None

    def submit(self, work: Work, body: Body) -> list[Reply]:
        if not isinstance(work, Speak):
            raise not_served(work)
        speech = _read(work, body, self._voices)
        self._live[work.request_id] = speech
        if speech.parts:
            self._turns.add(speech)
        else:
            speech.trailer = speech.ended()
        return []

    def cancel(self, request_id: int) -> None:
        """A sentence that is being computed is thrown away when it ends."""
        if self._live.pop(request_id, None) is not None:
            self._turns.drop(lambda speech: speech.request_id != request_id)
            self._results.drop(request_id)

    def poison(self, request_id: int) -> None:
        """Let the native call of this request's next sentence fail."""
        if (speech := self._live.get(request_id)) is not None:
            speech.poisoned = True

    def gauges(self) -> Gauges:
        running = int(self._running is not None and self._running[1] is not None)
        return Gauges(running, max(0, len(self._live) - running))

    def step(self) -> list[Reply | Failed]:
        self._start()
        failed = self._settle()
        replies = self._placed()
        self._start()
        return [*failed, *replies]

    def _start(self) -> None:
        """Only while no result waits for room: a client that reads slowly must not fill the memory."""
        if self._running is not None or self._results:
            return
        if self._doubtful:
            self._running = (self._calls.start(self.probe), None)
        elif self._turns:
            speech = self._turns.next()
            self._running = (self._calls.start(partial(speech.spoken, self._speaker)), speech)

    def probe(self) -> None:
        """Read a word. Raises what the library raises."""
        voice = [VoiceWeight(self._voices.served[0].name, 1.0)]
        self._speaker.say(_PROBE, self._voices.language(voice), self._voices.styles(voice), _SPEEDS[1])

    def _settle(self) -> list[Reply | Failed]:
        """Take in the sentence that has ended, if any."""
        if self._running is None:
            if self._results:  # nothing to do but to wait for room in the arena
                time.sleep(_POLL_SECONDS)
            return []
        future, speech = self._running
        if not self._calls.ended(0 if self._can_end() else _POLL_SECONDS):
            return []
        self._running = None
        error = future.exception()
        if error is not None:
            return self._failed(speech, error)
        if speech is None:
            self._doubtful = False
        elif speech.request_id in self._live:
            sentence = future.result()
            assert sentence is not None, "only a probe yields nothing"
            self._take(speech, sentence)
        return []

    def _can_end(self) -> bool:
        """Whether the end of a file can be sent now."""
        return not self._results and any(speech.trailer is not None for speech in self._live.values())

    def _take(self, speech: _Speech, sentence: _Sentence) -> None:
        del speech.parts[0]
        self._add(speech.request_id, sentence.encoded, sentence.samples, last=False)
        speech.trailer = sentence.trailer
        if speech.parts:
            self._turns.again(speech)

    def _failed(self, speech: _Speech | None, error: BaseException) -> list[Reply | Failed]:
        if speech is None or is_wedged(error) or is_short_of_memory(error) or isinstance(error, MemoryError):
            raise EngineLost(f"the engine failed: {summary(error)}") from error
        if speech.request_id not in self._live:
            self._doubtful = not isinstance(error, Unreadable)
            return []
        self.cancel(speech.request_id)
        if isinstance(error, Unreadable):
            refusal = RequestError(ErrorCode.INVALID_VALUE, str(error), "input")
            return [Failed(speech.request_id, refusal)]
        self._doubtful = True
        return [Failed(speech.request_id, ENGINE_FAILED)]

    def _placed(self) -> list[Reply | Failed]:
        """What can be sent. The end of a file comes after all of its sentences."""
        replies: list[Reply] = self._results.replies()
        for speech in list(self._live.values()):
            if speech.trailer is not None and not self._results:
                self._add(speech.request_id, speech.trailer, 0, last=True)
                speech.trailer = None
                replies += self._results.replies()
        for reply in replies:
            if reply.ends:
                del self._live[reply.request_id]
        return [*replies]

    def _add(self, request_id: int, encoded: bytes, samples: int, *, last: bool) -> None:
        def reply(payload: Payload) -> Spoken:
            return Spoken(request_id, payload, samples, last)

        self._results.add(request_id, np.frombuffer(encoded, np.uint8), reply)


def load_speech(launch: Launch[SpeechOptions], results: Results) -> SpeechEngine:
    """Load Kokoro from an IR folder, and read a word. Raises LaunchError, and whatever the library raises."""
    started = time.monotonic()
    folder = Path(launch.path)
    chosen = _chosen_properties(launch)
    speaker = load_speaker(launch)
    voices = Voices(folder, speaker.languages)
    card = SpeechCard(
        device_name=device_name(launch.device),
        slots=SLOTS,
        context_length=CONTEXT,
        load_seconds=0.0,
        fingerprint=fingerprint(folder, f"{genai.get_version()} {launch.options.library}"),
        properties=chosen,
        threads=inference_threads(launch),
        weights=weights_format(folder / "openvino_model.xml"),
        voices=voices.served,
        sample_rate=SAMPLE_RATE,
    )
    engine = SpeechEngine(card, speaker, voices, results, launch.stall_seconds)
    engine.probe()
    card.load_seconds = time.monotonic() - started
    return engine


def load_speaker(launch: Launch[SpeechOptions]) -> Speaker:
    """The model alone. Raises what `load_speech` raises."""
    properties = _compile_properties(launch, _chosen_properties(launch))
    return _speaker(launch)(Path(launch.path), launch.device, properties)


def _speaker(launch: Launch[SpeechOptions]) -> Callable[[Path, str, dict[str, str]], Speaker]:
    if launch.options.library == "openvino":
        from host.kokoro.native_speaker import NativeSpeaker

        return NativeSpeaker
    from host.kokoro.genai_speaker import GenAiSpeaker

    return GenAiSpeaker


def _chosen_properties(launch: Launch[SpeechOptions]) -> dict[str, str]:
    """Properties that the launch leaves to us."""
    chosen = {} if launch.device.startswith("NPU") else _PRECISION
    if launch.device.startswith("CPU"):
        chosen = chosen | _KERNELS
    return {name: value for name, value in chosen.items() if name not in launch.properties}


def _compile_properties(launch: Launch[SpeechOptions], chosen: dict[str, str]) -> dict[str, str]:
    return given_properties(launch) | chosen


def _read(work: Speak, body: Body, voices: Voices) -> _Speech:
    """Raises RequestRefused."""
    try:
        text = msgspec.msgpack.decode(body, type=SpeechInput).text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid("input holds text that is not valid Unicode", "input") from error
    lowest, highest = _SPEEDS
    if not lowest <= work.speed <= highest:
        raise invalid(f"speed must be between {lowest} and {highest}", "speed")
    language = voices.language(work.voice)
    parts = parts_to_read(text, language.tag, work.speed)
    if not parts:
        raise invalid("input has no words to read aloud", "input")
    return _Speech(
        work, parts[work.resume_sentences :], language, voices.styles(work.voice), work.resume_samples
    )
