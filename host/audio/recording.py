"""A recording on its way to windows: decoded, listened to and cut as far as the next window needs."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from host.audio.samples import RATE, Samples, seconds, silence
from host.audio.vad import BATCH_SAMPLES, FRAME, Probabilities, VoiceDetector, whole_frames
from host.audio.windows import MIN_SPEECH, Settings, first_speech, next_window
from host.audio.windows import Window as Frames

_TURN_SAMPLES = 60 * RATE  # listened to in one call: others wait meanwhile


class SpokenWindow(NamedTuple):
    """Sound for the model. Times are in seconds from the beginning of the recording."""

    samples: Samples
    start: float
    end: float
    speech: list[tuple[float, float]]  # where in the recording there is speech
    until: float  # where the next window is looked for


class Recording:
    """Belongs to one thread at a time."""

    def __init__(
        self,
        blocks: Iterator[Samples],
        detector: VoiceDetector,
        settings: Settings,
        start_seconds: float,
    ) -> None:
        """`start_seconds`: the `until` of an earlier window, from which to continue; 0: the beginning."""
        self._blocks = blocks
        self._detector = detector
        self._settings = settings
        self._to_skip = round(start_seconds * RATE)
        self._total = 0  # samples decoded
        self._complete = False  # all are
        self._restart(silence(0), self._to_skip)

    @property
    def duration(self) -> float:
        """In seconds, as far as it was decoded."""
        return seconds(self._total)

    @property
    def ended(self) -> bool:
        """Whether there is no further window."""
        return self._complete and not len(self._audio)

    def advance(self) -> SpokenWindow | None:
        """The next window; None if this call found none. Then `ended` says whether that was the last.

        A call decodes and hears a minute at most. Raises RequestRefused and av.FFmpegError.
        """
        budget = self._total + _TURN_SAMPLES
        while not self.ended and self._total < budget:
            self._hear()
            frames = next_window(
                self._probabilities, self._audio, self._complete and self._heard_all, self._settings
            )
            if frames is not None:
                window = self._take(frames)
                if sum(span.length for span in frames.speech) >= MIN_SPEECH:
                    return window
            elif self._complete and self._heard_all:
                self._restart(silence(0), self._at + len(self._audio))
            else:
                self._drop_silence()
                self._decode()
        return None

    def close(self) -> None:
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()

    def _restart(self, audio: Samples, at: int) -> None:
        """Listen as if the recording began here."""
        self._audio, self._at = audio, at  # `at`: the position of its first sample
        self._listener = self._detector.listen()
        self._probabilities: Probabilities = np.empty(0, np.float32)
        self._heard_all = False

    def _decode(self) -> None:
        """One block more."""
        block = next(self._blocks, None)
        if block is None:
            self._complete = True
            return
        self._total += len(block)
        skipped = min(self._to_skip, len(block))
        self._to_skip -= skipped
        if skipped < len(block):
            self._audio = np.concatenate((self._audio, block[skipped:]))

    def _hear(self) -> None:
        """All that is there, in whole batches; at the end the rest, filled up with silence."""
        heard = len(self._probabilities) * FRAME
        new = len(self._audio) - heard
        if self._complete:
            if not self._heard_all:
                self._add(self._listener.hear(whole_frames(self._audio[heard:])))
                self._heard_all = True
        elif new >= BATCH_SAMPLES:
            self._add(self._listener.hear(self._audio[heard : heard + new // BATCH_SAMPLES * BATCH_SAMPLES]))

    def _add(self, probabilities: Probabilities) -> None:
        self._probabilities = np.concatenate((self._probabilities, probabilities))

    def _take(self, frames: Frames) -> SpokenWindow:
        def position(frame: int) -> float:
            return seconds(self._at + min(frame * FRAME, len(self._audio)))

        window = SpokenWindow(
            self._audio[frames.start * FRAME : frames.end * FRAME],
            position(frames.start),
            position(frames.end),
            [(position(span.start), position(span.end)) for span in frames.speech],
            position(frames.end),
        )
        cut = min(frames.end * FRAME, len(self._audio))
        self._restart(self._audio[cut:].copy(), self._at + cut)
        return window

    def _drop_silence(self) -> None:
        """Before the first speech, only the padding is kept."""
        if first_speech(self._probabilities, self._settings) is not None:
            return
        drop = max(0, len(self._probabilities) - self._settings.padding)
        self._probabilities = self._probabilities[drop:]
        self._audio = self._audio[drop * FRAME :]
        self._at += drop * FRAME
