"""The raw pipeline in its own process: reads workloads as lines of JSON, and writes their records."""

import os
import sys
from typing import Any, BinaryIO, Protocol

import msgspec

import host.quiet  # noqa: F401 - before anything that imports OpenVINO
from bench.client import clock
from bench.speech import SpeechWorkload
from bench.stats import RequestRecord
from bench.transcripts import TranscriptionWorkload
from bench.vectors import VectorWorkload
from bench.workload import Workload
from ipc import huge_pages
from ipc.channel import unpack_launch
from ipc.messages import Launch

HUGE_PAGES = "huge-pages"  # as an argument


class Loaded(msgspec.Struct, tag=True):
    """The model is ready. `seconds` is its load time."""

    seconds: float


class Measured(msgspec.Struct, tag=True):
    """The records of one workload, in the order in which its requests finished."""

    records: list[RequestRecord]


Reply = Loaded | Measured

_WORKLOADS: dict[str, type[Any]] = {
    "embeddings": VectorWorkload,
    "transcription": TranscriptionWorkload,
    "speech": SpeechWorkload,
}


class _Engine(Protocol):
    def run(self, workload: Any) -> list[RequestRecord]: ...


def serve(launch: Launch[Any], commands: BinaryIO, replies: BinaryIO, in_huge_pages: bool) -> None:
    """Load the model of the launch, then run the workload on each line, until the input ends."""
    started = clock()
    engine = _load(launch)
    _send(replies, Loaded(clock() - started))
    kind = _WORKLOADS.get(launch.engine, Workload)
    for line in commands:
        measured = Measured(engine.run(msgspec.json.decode(line, type=kind)))
        if in_huge_pages:  # now that the first workload has warmed the engine up
            huge_pages.collapse(huge_pages.SECONDS)
            in_huge_pages = False
        _send(replies, measured)


def _load(launch: Launch[Any]) -> _Engine:
    """Imports OpenVINO, which the parent process does without."""
    if launch.engine == "embeddings":
        from bench.raw_vectors import RawEmbeddings

        return RawEmbeddings(launch)
    if launch.engine == "transcription":
        from bench.raw_transcription import RawTranscription

        return RawTranscription(launch)
    if launch.engine == "speech":
        from bench.raw_speech import RawSpeech

        return RawSpeech(launch)
    from bench.raw import RawEngine

    return RawEngine(launch)


def _send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


if __name__ == "__main__":
    # Keeps the output of native code out of the replies.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(unpack_launch(int(sys.argv[1])), sys.stdin.buffer, out, HUGE_PAGES in sys.argv[2:])
