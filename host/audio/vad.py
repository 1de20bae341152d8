"""Voice activity: how likely each 32 ms frame of a recording is speech."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import openvino as ov

from host.audio.samples import RATE, Samples, silence
from host.errors import LaunchError

FRAME = 512  # samples
FRAME_SECONDS = FRAME / RATE

Probabilities = npt.NDArray[np.float32]  # of speech, of shape [frames], from 0 to 1

_CONTEXT = 64  # samples before a frame that the model is shown as well
_BATCH = 64  # frames computed at once, always: each new shape would cost the plugin memory
BATCH_SAMPLES = _BATCH * FRAME  # a listener hears whole batches, but for the last
_STATE = (1, 1, 128)

_LOUD_DB, _QUIET_DB = -35.0, -50.0  # full scale: surely speech, surely none, where loudness decides


class Listener(Protocol):
    """Listens to one recording, from some position on."""

    def hear(self, samples: Samples) -> Probabilities:
        """Of frames that follow those heard before. `samples` are whole frames."""


class VoiceDetector(Protocol):
    """Belongs to one thread."""

    def listen(self) -> Listener:
        """Begin with a recording, knowing nothing of what was before."""

    def twin(self) -> "VoiceDetector":
        """For another thread."""


def load_detector(model: str) -> VoiceDetector:
    """`model`: an ONNX file of Silero VAD for sequences of frames at 16 kHz; empty: loudness decides.

    Raises LaunchError.
    """
    return SileroDetector.load(Path(model)) if model else LoudnessDetector()


def whole_frames(samples: Samples) -> Samples:
    """Silence is added until the last frame is complete."""
    missing = -len(samples) % FRAME
    return np.concatenate((samples, silence(missing))) if missing else samples


class SileroDetector:
    """Silero VAD, computed by OpenVINO on the CPU."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    @classmethod
    def load(cls, path: Path) -> "SileroDetector":
        """Raises LaunchError."""
        try:
            model = ov.Core().read_model(path)
            inputs = {port.any_name for port in model.inputs}
            if inputs != {"input", "h", "c"} or len(model.outputs) != 3:
                raise RuntimeError("it is of another kind")
            model.reshape({"input": [_BATCH, _CONTEXT + FRAME]})
            # One thread: the batches are too small to share, and the transcription needs the others.
            return cls(ov.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": "1"}))
        except RuntimeError as error:
            raise LaunchError(
                f"{path} is not a model of voice activity; it must be silero_vad_16k_sequence.onnx"
            ) from error

    def listen(self) -> "SileroListener":
        return SileroListener(self._request)

    def twin(self) -> "SileroDetector":
        return SileroDetector(self._compiled)


class SileroListener:
    """Carries the model's state from frame to frame."""

    def __init__(self, request: ov.InferRequest) -> None:
        self._request = request
        self._state = (np.zeros(_STATE, np.float32), np.zeros(_STATE, np.float32))
        self._context = silence(_CONTEXT)
        self._waiting = silence(0)

    def hear(self, samples: Samples) -> Probabilities:
        batches = [
            self._compute(samples[at : at + _BATCH * FRAME]) for at in range(0, len(samples), _BATCH * FRAME)
        ]
        return np.concatenate([np.empty(0, np.float32), *batches])

    def _compute(self, samples: Samples) -> Probabilities:
        frames = len(samples) // FRAME
        rows = np.zeros((_BATCH, _CONTEXT + FRAME), np.float32)
        rows[:frames, _CONTEXT:] = samples.reshape(frames, FRAME)
        rows[0, :_CONTEXT] = self._context
        rows[1:frames, :_CONTEXT] = rows[: frames - 1, -_CONTEXT:]
        self._context = samples[-_CONTEXT:]
        h, c = self._state
        probabilities, h, c = self._request.infer({"input": rows, "h": h, "c": c}).to_tuple()
        self._state = (h, c)
        return np.array(probabilities[:frames], np.float32)


class LoudnessDetector:
    """Takes whatever is loud for speech: noise and music as well."""

    def listen(self) -> "LoudnessDetector":
        return self

    def twin(self) -> "LoudnessDetector":
        return self

    def hear(self, samples: Samples) -> Probabilities:
        energy = np.mean(samples.reshape(-1, FRAME) ** 2, axis=1)
        decibels = 10 * np.log10(energy + 1e-12)
        probabilities: Probabilities = np.clip((decibels - _QUIET_DB) / (_LOUD_DB - _QUIET_DB), 0, 1)
        return probabilities.astype(np.float32)
