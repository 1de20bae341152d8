"""The raw Whisper pipeline: whole recordings, one after the other, without a server.

The pipeline cuts them into windows by itself.
"""

import io

import numpy
import openvino_genai

from bench.client import clock
from bench.recordings import Recording
from bench.stats import RequestRecord
from bench.transcripts import TranscriptionWorkload
from host.audio.decode import decode
from host.audio.samples import RATE, Samples
from host.engines.quantization import without_auto
from ipc.messages import Launch, TranscriptionOptions


class RawTranscription:
    """A pipeline that runs workloads. Recordings are decoded beforehand: serving includes that."""

    def __init__(self, launch: Launch[TranscriptionOptions]) -> None:
        """Load the model. Raises whatever OpenVINO raises."""
        properties = without_auto(launch.properties)
        self._pipeline = openvino_genai.WhisperPipeline(launch.path, launch.device, **properties)

    def run(self, workload: TranscriptionWorkload) -> list[RequestRecord]:
        """One record per recording, whatever the workload's concurrency."""
        return [self._transcribe(_samples(recording)) for recording in workload.recordings()]

    def _transcribe(self, samples: Samples) -> RequestRecord:
        started = clock()
        heard = self._pipeline.generate(samples, return_timestamps=True)
        finished = clock()
        reason = "whole" if heard.texts[0].strip() else "empty"
        return RequestRecord(
            started, finished, audio_seconds=len(samples) / RATE, finish_reason=reason, counted_from="engine"
        )


def _samples(recording: Recording) -> Samples:
    return numpy.concatenate(list(decode(io.BytesIO(recording.data))))
