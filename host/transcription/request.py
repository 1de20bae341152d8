"""One recording that is being transcribed."""

from typing import BinaryIO

import av

from host.audio.decode import decode
from host.audio.recording import Recording, SpokenWindow
from host.audio.storage import store
from host.audio.vad import VoiceDetector
from host.audio.windows import settings_of
from host.engines.base import Body, RequestRefused, invalid
from host.transcription.folder import WhisperFolder
from host.transcription.segments import Heard, Place, placed
from host.transcription.whisper import Ask, Whisper
from ipc.errors import ErrorCode
from ipc.messages import Transcribe, Transcribed


class TranscriptionRequest:
    """Prepared and transcribed window by window, in different threads, but never the same thing in two."""

    def __init__(self, work: Transcribe, body: Body, folder: WhisperFolder, spool_folder: str) -> None:
        """Keeps a copy of the file, a large one in `spool_folder`. Raises RequestRefused and OSError."""
        check(work, folder)
        self.request_id = work.request_id
        self.work = work
        self.wanted = True  # until it is cancelled
        self.poisoned = False
        self.ready: SpokenWindow | None = None
        self.preparing = self.transcribing = False
        self.language = work.language or ("" if folder.multilingual else folder.languages[0])
        self.until = work.resume_seconds
        self._prompt: str | None = None
        self._recording: Recording | None = None
        self._file: BinaryIO = store(body, spool_folder)

    @property
    def prepared(self) -> bool:
        """Whether there is no further window to prepare."""
        return self._recording is not None and self._recording.ended

    @property
    def duration(self) -> float:
        """In seconds, once it is prepared."""
        return self._recording.duration if self._recording is not None else 0.0

    def prepare(self, detector: VoiceDetector, max_seconds: float) -> SpokenWindow | None:
        """Look for the next window, for a bounded time. Raises RequestRefused."""
        try:
            if self._recording is None:
                blocks = decode(self._file, self.work.pcm_rate, max_seconds)
                settings = settings_of(self.work.voice_activity)
                self._recording = Recording(blocks, detector, settings, self.work.resume_seconds)
            return self._recording.advance()
        except av.FFmpegError as error:
            message = "the file is damaged so that it cannot be decoded; convert it to WAV or MP3"
            raise RequestRefused(ErrorCode.INVALID_VALUE, message, "file") from error

    def transcribe(self, whisper: Whisper, window: SpokenWindow) -> Heard:
        """Raises what the engine raises."""
        if self._prompt is None:
            self._prompt = whisper.prompt_of(self.work.prompt, self.work.keywords)
        work = self.work
        ask = Ask(self.language or None, work.translate, self._prompt, work.temperature, work.word_times)
        samples = window.samples[:1] if self.poisoned else window.samples  # the engine raises for one
        return whisper.hear(samples, ask, lambda: self.wanted)

    def reply(self, window: SpokenWindow, heard: Heard) -> Transcribed:
        self.language = self.language or heard.language
        self.until = window.until
        segments = placed(heard, Place(window.start, window.end, window.speech))
        return Transcribed(self.request_id, window.until, segments, self.language)

    def last_reply(self) -> Transcribed:
        duration = self.duration
        until = max(self.until, duration)
        return Transcribed(self.request_id, until, [], self.language, last=True, duration=duration)

    def close(self) -> None:
        """Not while it is being prepared."""
        if self._recording is not None:
            self._recording.close()
        self._file.close()


def check(work: Transcribe, folder: WhisperFolder) -> None:
    """Raises RequestRefused for what the model cannot do."""
    if work.language is not None and work.language not in folder.languages:
        known = ", ".join(folder.languages[:8]) + (", …" if len(folder.languages) > 8 else "")
        raise invalid(
            f"the model does not know the language {work.language[:40]!r}; it knows {known}", "language"
        )
    if work.translate and not folder.translates:
        raise invalid("this model cannot translate; use a multilingual one", "model")
    if not 0 <= work.temperature <= 2:
        raise invalid(f"temperature must be between 0 and 2, not {work.temperature:g}", "temperature")
    if not 0 <= work.resume_seconds < 1e6:
        raise invalid(f"the recording cannot continue at {work.resume_seconds:g} seconds", "file")
