"""Recordings to a host under test, and what comes back."""

from pathlib import Path
from typing import Any

from ipc.messages import DetectSpeech, Launch, SpeechDetected, Transcribe, Transcribed, TranscriptionOptions
from tests.host.harness import HostUnderTest, launch_of


def transcription_launch(folder: Path, **changes: Any) -> Launch[Any]:
    """Silero VAD is in the model's folder."""
    options = TranscriptionOptions(str(folder / "silero_vad.onnx"))
    return launch_of(folder, engine="transcription", properties={}, options=options, **changes)


def start_transcription(host: HostUnderTest, file: bytes, **fields: Any) -> int:
    """Send a file, through the arena if it is large. Returns the request's id."""
    if len(file) > 64 * 1024:
        lease = host.arena.lease(len(file))
        assert lease is not None
        host.arena.write(lease, file)
        return host.send(Transcribe(0, lease, **fields))
    return host.send(Transcribe(0, file, **fields))


def replies(host: HostUnderTest, request_id: int) -> list[Transcribed]:
    """All replies to a request, once the last is there. It must not fail."""

    def found() -> list[Transcribed]:
        assert host.outcomes[request_id].error is None, host.outcomes[request_id].error
        return [m for m in host.received if isinstance(m, Transcribed) and m.request_id == request_id]

    while not any(reply.last for reply in found()):
        count = len(found())
        host.wait(lambda count=count: len(found()) > count)
    return found()


def transcribed(host: HostUnderTest, file: bytes, **fields: Any) -> list[Transcribed]:
    return replies(host, start_transcription(host, file, **fields))


def text_of(parts: list[Transcribed]) -> str:
    return " ".join(segment.text for part in parts for segment in part.segments)


def detected(host: HostUnderTest, pcm: bytes, **fields: Any) -> SpeechDetected:
    return host.answer(SpeechDetected, host.send(DetectSpeech(0, pcm, **fields)))
