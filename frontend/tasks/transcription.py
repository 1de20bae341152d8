"""Transcription as a job: journalled window by window, so that another host can continue it."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from frontend.observability.metrics import ModelMetrics
from frontend.routing.job import Body, Job
from frontend.routing.recovery import Progress
from frontend.routing.router import Model
from frontend.tasks.stream import OutputStream
from frontend.tasks.transcript import Transcript
from ipc.continuation import Continuation
from ipc.messages import Payload, Reply, Segment, Transcribe, Transcribed

Drop = Callable[[Sequence[Job]], None]


class Passage(msgspec.Struct, frozen=True):
    """What one window added to a transcript."""

    text: str  # as it follows what was there before
    segments: list[Segment]
    ends: bool  # it is the last one


class TranscriptionJob(Job):
    """One recording."""

    param = "file"
    work: Transcribe

    def __init__(self, work: Transcribe, body: Body, arrived_at: float, stream: "Transcription") -> None:
        super().__init__(work, body, arrived_at, max_units=0)
        self.transcript = Transcript()
        self._stream = stream

    @property
    def progress(self) -> Progress:
        """The point is the number of windows that are done."""
        return Progress(self.transcript.windows, Continuation.BY_TEXT, visible=True)

    def message(self, request_id: int, payload: Payload) -> Transcribe:
        """The language that an earlier host found stays, or the transcript might go on in another one."""
        done = self.transcript
        return msgspec.structs.replace(
            self.work,
            request_id=request_id,
            payload=payload,
            language=self.work.language or done.language or None,
            resume_seconds=done.until,
            resume_windows=done.windows,
        )

    def take(self, reply: Reply, _now: float, metrics: ModelMetrics) -> None:
        assert isinstance(reply, Transcribed)
        before = self.transcript.until
        text = self.transcript.add(reply)
        metrics.audio_seconds().inc(self.transcript.until - before)
        self._stream.push(Passage(text, reply.segments, reply.last))

    def flush(self) -> None:
        self._stream.flush()

    def fail(self, error: Exception) -> None:
        self._stream.cancel(error)


class Transcription(OutputStream[Passage]):
    """One recording's passages. Its time limit begins again with each."""

    def __init__(self, work: Transcribe, body: Body, now: float, drop: Drop) -> None:
        self.job = TranscriptionJob(work, body, now, self)
        super().__init__(1, lambda: drop([self.job]))
        self._renewed: Callable[[], asyncio.TimerHandle] | None = None

    @property
    def transcript(self) -> Transcript:
        return self.job.transcript

    def renew_with(self, timer: Callable[[], asyncio.TimerHandle]) -> None:
        """How the time limit is started after each passage."""
        self._renewed = timer

    def push(self, output: Passage) -> None:
        super().push(output)
        if self._renewed is not None:
            self.expires(self._renewed())


def transcribe(model: Model, work: Transcribe, body: Body, age_seconds: float = 0.0) -> Transcription:
    """Start a transcription, for a request of that age. The caller closes it.

    Audio of hours may take longer than a request's time limit, which therefore counts from the last window.

    Raises ModelUnavailable, QueueFull, RequestTooLarge, RequestBlamed or ShuttingDown.
    """
    stream = Transcription(work, body, model.now(), model.drop)
    model.submit([stream.job])
    stream.expires(model.call_when_late(age_seconds, stream.cancel))
    stream.renew_with(lambda: model.call_when_late(0.0, stream.cancel))
    return stream
