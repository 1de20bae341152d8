"""Kokoro in its raw pipeline, sentence by sentence, without a server."""

from pathlib import Path

from bench.client import clock
from bench.speech import SpeechWorkload
from bench.stats import RequestRecord
from host.engines.speech import load_speaker
from host.kokoro.joining import joined
from host.kokoro.speaker import SAMPLE_RATE
from host.kokoro.voices import Voices
from ipc.messages import Launch, SpeechOptions, VoiceWeight


class RawSpeech:
    """A pipeline that runs workloads. The texts are cut into sentences beforehand: serving includes that."""

    def __init__(self, launch: Launch[SpeechOptions]) -> None:
        """Load the model. Raises whatever the library raises."""
        self._speaker = load_speaker(launch)
        self._voices = Voices(Path(launch.path), self._speaker.languages)

    def run(self, workload: SpeechWorkload) -> list[RequestRecord]:
        """One record per text, whatever the workload's concurrency."""
        return [self._speak(sentences, workload.voice) for sentences in workload.texts()]

    def _speak(self, sentences: list[str], voice: str) -> RequestRecord:
        """The seconds of audio are what a listener gets: without the silence that serving trims."""
        blend = [VoiceWeight(voice, 1.0)]
        language, styles = self._voices.language(blend), self._voices.styles(blend)
        started = clock()
        spoken = [self._speaker.say(sentence, language, styles, 1.0) for sentence in sentences]
        finished = clock()
        heard = [
            joined(samples, sentence, 1.0, SAMPLE_RATE)
            for samples, sentence in zip(spoken, sentences, strict=True)
        ]
        return RequestRecord(
            started,
            finished,
            audio_seconds=sum(map(len, heard)) / SAMPLE_RATE,
            finish_reason="whole",
            counted_from="engine",
        )
