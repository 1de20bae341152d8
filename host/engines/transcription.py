"""Speech to text by Whisper: recordings take turns, window by window."""

import sys
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import openvino_genai as genai

from host.audio.detection import detect_speech
from host.audio.recording import SpokenWindow
from host.audio.samples import RATE, silence
from host.audio.vad import VoiceDetector, load_detector
from host.engines.base import Body, EngineLost, RequestRefused, not_served
from host.engines.failures import ENGINE_FAILED
from host.engines.pipeline import device_name
from host.facts import inference_threads, weights_format
from host.media_phases import MediaPhases
from host.model_folder import fingerprint
from host.native_errors import is_wedged, summary
from host.one_shot import OneShot
from host.results import Results
from host.stall import StallBudget
from host.transcription.folder import WhisperFolder, read_whisper_folder
from host.transcription.request import TranscriptionRequest
from host.transcription.segments import Heard
from host.transcription.whisper import Ask, Whisper
from ipc.messages import (
    DetectSpeech,
    Failed,
    Gauges,
    Launch,
    Reply,
    Transcribe,
    TranscriptionCard,
    TranscriptionOptions,
    Work,
)
from ipc.progress import ProgressWriter

_SLOTS = 8  # recordings taken in at once, so that a short one need not wait for a long one
_POLL_SECONDS = 0.01  # new requests are received this often while windows are transcribed
_MAX_FAILURES = 3  # in a row, of the engine


def load_transcription(launch: Launch[TranscriptionOptions], _results: Results) -> "TranscriptionEngine":
    """Load Whisper from an IR folder. Raises ModelFolderError, LaunchError, RuntimeError."""
    started = time.monotonic()
    folder = read_whisper_folder(Path(launch.path))
    detector = load_detector(launch.options.voice_activity_model)
    whisper = Whisper(launch, folder)
    # Kernels are compiled now, not while the first request waits.
    whisper.hear(silence(RATE), Ask(folder.languages[0], False, "", 0.0, False), lambda: True)
    card = TranscriptionCard(
        device_name=device_name(launch.device),
        slots=_SLOTS,
        context_length=folder.positions,
        load_seconds=time.monotonic() - started,
        fingerprint=fingerprint(folder.path, genai.get_version()),
        properties={},
        threads=inference_threads(launch),
        weights=weights_format(folder.path / "openvino_decoder_model.xml"),
        languages=folder.languages,
        translates=folder.translates,
    )
    return TranscriptionEngine(card, folder, whisper, detector, launch)


class TranscriptionEngine:
    """Implements host.engines.base.Engine.

    Two threads work beside the loop: one decodes and looks for the next windows, one transcribes. So the
    engine need not wait for a window, and each recording has at most one that waits.
    """

    def __init__(
        self,
        card: TranscriptionCard,
        folder: WhisperFolder,
        whisper: Whisper,
        detector: VoiceDetector,
        launch: Launch[TranscriptionOptions],
    ) -> None:
        self.card = card
        self._folder = folder
        self._whisper = whisper
        self._detector, self._own_detector = detector, detector.twin()
        self._max_seconds = launch.options.max_audio_seconds
        self._spool_folder = launch.options.spool_folder
        self._live: dict[int, TranscriptionRequest] = {}  # until they are answered
        self._preparing: OneShot[SpokenWindow | None] = OneShot(StallBudget(launch.stall_seconds))
        self._transcribing: OneShot[Heard] = OneShot(StallBudget(launch.stall_seconds))
        self._in_preparation: TranscriptionRequest | None = None
        self._in_engine: tuple[TranscriptionRequest, SpokenWindow] | None = None
        self._to_prepare: deque[TranscriptionRequest] = deque()
        self._to_transcribe: deque[TranscriptionRequest] = deque()
        self._failures = 0  # of the engine, since it last succeeded
        self._phases = MediaPhases(launch.stall_seconds)

    def report_to(self, progress: ProgressWriter) -> None:
        self._phases.report_to(progress)

    @property
    def busy(self) -> bool:
        return bool(self._live or self._preparing.running or self._transcribing.running)

    def submit(self, work: Work, body: Body) -> list[Reply]:
        match work:
            case DetectSpeech():
                return [detect_speech(work, body, self._own_detector)]
            case Transcribe():
                request = TranscriptionRequest(work, body, self._folder, self._spool_folder)
                self._live[work.request_id] = request
                self._to_prepare.append(request)
                return []
        raise not_served(work)

    def cancel(self, request_id: int) -> None:
        request = self._live.pop(request_id, None)
        if request is None:
            return
        request.wanted = False
        for queue in (self._to_prepare, self._to_transcribe):
            if request in queue:
                queue.remove(request)
        if not request.preparing:
            request.close()

    def poison(self, request_id: int) -> None:
        """Let the native call for this request's windows raise."""
        request = self._live.get(request_id)
        if request is not None:
            request.poisoned = True

    def gauges(self) -> Gauges:
        running = int(self._in_engine is not None and self._in_engine[0].wanted)
        return Gauges(running, len(self._live) - running)

    def step(self) -> list[Reply | Failed]:
        self._start()
        messages: list[Reply | Failed] = []
        waited, other = self._transcribing, self._preparing
        for future in waited.ended(_POLL_SECONDS if waited.running else 0):
            messages += self._transcribed(future)
        for prepared in other.ended(0 if self._in_engine is not None else _POLL_SECONDS):
            messages += self._prepared(prepared)
        self._start()
        return messages

    def _start(self) -> None:
        if self._preparing.free and self._to_prepare:
            request = self._to_prepare.popleft()
            request.preparing, self._in_preparation = True, request
            self._preparing.start(lambda: request.prepare(self._detector, self._max_seconds))
        if self._transcribing.free and self._to_transcribe:
            chosen = self._to_transcribe.popleft()
            window, chosen.ready = chosen.ready, None
            assert window is not None, "only requests with a window wait for the engine"
            self._make_able(chosen)
            chosen.transcribing, self._in_engine = True, (chosen, window)
            self._transcribing.start(lambda: chosen.transcribe(self._whisper, window))
            if not chosen.prepared:
                self._to_prepare.append(chosen)

    def _make_able(self, request: TranscriptionRequest) -> None:
        """Load the pipeline again where it failed, or where the times of words are wanted for the first time.
        In the loop's thread, which a load would hold up in any thread."""
        words = request.work.word_times
        if not self._whisper.can_hear(words=words):
            with self._phases.of_load():
                self._whisper.load(words=words)

    def _prepared(self, future: Future[SpokenWindow | None]) -> list[Reply | Failed]:
        request, self._in_preparation = self._in_preparation, None
        assert request is not None, "what ended was started"
        request.preparing = False
        if not request.wanted:
            request.close()
            return []
        try:
            request.ready = future.result()
        except RequestRefused as refusal:
            return [self._fail(Failed(request.request_id, refusal.error))]
        except Exception as error:  # whatever it is, it is this recording's alone
            print(f"a recording could not be prepared: {error!r}", file=sys.stderr, flush=True)
            return [self._fail(Failed(request.request_id, ENGINE_FAILED))]
        if request.ready is not None:
            self._to_transcribe.append(request)
        elif not request.prepared:
            self._to_prepare.append(request)
        return self._finish(request)

    def _transcribed(self, future: Future[Heard]) -> list[Reply | Failed]:
        assert self._in_engine is not None, "what ended was started"
        (request, window), self._in_engine = self._in_engine, None
        request.transcribing = False
        error = future.exception()
        if error is not None:
            return self._failed(request, error)
        self._failures = 0
        if not request.wanted:
            return []
        return [request.reply(window, future.result()), *self._finish(request)]

    def _failed(self, request: TranscriptionRequest, error: BaseException) -> list[Reply | Failed]:
        print(f"a window could not be transcribed: {error}", file=sys.stderr, flush=True)
        self._failures += not request.poisoned
        if is_wedged(error) or self._failures >= _MAX_FAILURES:
            raise EngineLost(f"the engine failed: {summary(error)}") from error
        return [self._fail(Failed(request.request_id, ENGINE_FAILED))] if request.wanted else []

    def _finish(self, request: TranscriptionRequest) -> list[Reply | Failed]:
        """The last reply, if the recording has no further window."""
        if not request.prepared or request.ready is not None or request.transcribing or request.preparing:
            return []
        del self._live[request.request_id]
        request.close()
        return [request.last_reply()]

    def _fail(self, failed: Failed) -> Failed:
        self.cancel(failed.request_id)
        return failed
