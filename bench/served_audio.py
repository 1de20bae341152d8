"""What serving adds to the raw pipelines of transcription and speech, which take one recording or text at a
time."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from bench import figures, load
from bench.engine_process import EngineProcess
from bench.errors import RunFailed
from bench.figures import Budget, Figure, Pair, median_pair, summarize_flawless
from bench.sentences import words_of
from bench.served import MODEL_NAME
from bench.server import Server
from bench.speech import SpeechWorkload
from bench.stats import RequestRecord, median
from bench.transcripts import TranscriptionWorkload
from ipc.messages import Launch
from ipc.voices import VOICES_FOLDER

AudioWorkload = TranscriptionWorkload | SpeechWorkload
Make = Callable[[int, int], AudioWorkload]  # of a seed and a number of requests in flight

_AUDIO_SECONDS = 60.0  # of a recording: several windows
_WORDS = 30  # of a text: at least three sentences
_SENTENCES = 10  # of a long text
_REQUESTS = 2  # of each side in each pair, at least


class AudioSides:
    """A server with one host, and a raw pipeline with the same model."""

    def __init__(self, server: Server, raw: EngineProcess, make: Make) -> None:
        self.server = server
        self._raw = raw
        self._make = make
        self._target = load.Target(server.base_url, MODEL_NAME, stream=False)
        self._seeds = count()

    def workload(self, concurrency: int = 1) -> AudioWorkload:
        """A workload that neither side has seen."""
        return self._make(next(self._seeds), concurrency)

    def ask(self) -> None:
        """Some requests to the server."""
        self.served(self.workload())

    def warm_up(self) -> None:
        """Let both sides allocate what they need."""
        workload = self.workload()
        self.served(workload)
        self.raw(workload)

    def raw(self, workload: AudioWorkload) -> float:
        """Seconds of audio per second."""
        return _rate(self._raw.run(workload))

    def served(self, workload: AudioWorkload) -> float:
        """Seconds of audio per second. Raises RunFailed if a request failed."""
        return _rate(load.run(self._target, workload).records)

    def time_to_audio(self, workload: SpeechWorkload) -> float:
        """Seconds from a request to the server until the first audio. Raises RunFailed if it failed."""
        [record] = load.run(self._target, workload).records
        summarize_flawless([record])
        return record.arrivals[0] - record.started


def transcriptions(audio: str | None) -> Make:
    """Recordings of a minute that espeak-ng speaks, or the same file each time."""

    def make(seed: int, concurrency: int) -> TranscriptionWorkload:
        requests = max(_REQUESTS, concurrency)
        return TranscriptionWorkload(requests, seed, audio, _AUDIO_SECONDS, concurrency)

    return make


def speeches(folder: Path) -> Make:
    """Texts of several sentences, in an English voice of the model's folder."""
    voices = sorted(file.stem for file in (folder / VOICES_FOLDER).glob("*.bin"))
    if not voices:
        raise RunFailed(f"{folder} has no voices")
    voice = next((name for name in voices if name.startswith("a")), voices[0])  # af_… and am_…

    def make(seed: int, concurrency: int) -> SpeechWorkload:
        return SpeechWorkload(max(_REQUESTS, concurrency), _WORDS, seed, voice, concurrency)

    return make


def workloads_of(launch: Launch[Any], audio: str | None) -> Make:
    """For the model of the launch, which transcribes or speaks. Raises RunFailed."""
    return speeches(Path(launch.path)) if launch.engine == "speech" else transcriptions(audio)


def audio_throughput(sides: AudioSides, budget: Budget, concurrency: int, pairs: int) -> Figure:
    """Seconds of audio per second, served ÷ raw: the median of the pairs' ratios. Both sides of a pair get
    the same recordings or texts."""
    measured = []
    for _ in range(pairs):
        workload = sides.workload(concurrency)
        raw, served = sides.raw(workload), sides.served(workload)
        measured.append(Pair(served, raw))
    ratios, middle = [pair.ratio for pair in measured], median_pair(measured)
    note = f"served {middle.ours:.2f}, raw {middle.yardstick:.2f} s of audio per s"
    return Figure(budget, median(ratios), ratios, f"concurrency {concurrency}", measured, note)


def first_audio(sides: AudioSides, pairs: int) -> Figure:
    """Time to the first audio of a text of ten sentences ÷ that of its first sentence alone, both served.

    The sentence is spoken once before: kernels are compiled for each length of text.
    """
    measured = []
    for _ in range(pairs):
        text = sides.workload()
        assert isinstance(text, SpeechWorkload), "only speech has a first audio"
        alone = msgspec.structs.replace(text, requests=1, prompt_words=1)
        whole = msgspec.structs.replace(alone, prompt_words=words_of(text.seed, 0, _SENTENCES))
        sides.time_to_audio(alone)
        measured.append(Pair(sides.time_to_audio(whole), sides.time_to_audio(alone)))
    ratios, middle = [pair.ratio for pair in measured], median_pair(measured)
    note = f"ten sentences {middle.ours:.2f}, one {middle.yardstick:.2f} s"
    return Figure(figures.FIRST_AUDIO, median(ratios), ratios, pairs=measured, note=note)


BUDGETS = {"transcription": figures.SERVED_TRANSCRIPTION, "speech": figures.SERVED_SPEECH}


def _rate(records: list[RequestRecord]) -> float:
    summary = summarize_flawless(records)
    if summary.audio_seconds_per_second is None:
        raise RunFailed("the length of the audio is not known")
    if summary.finish_reasons.get("empty"):
        raise RunFailed("a transcript is empty")
    return summary.audio_seconds_per_second
