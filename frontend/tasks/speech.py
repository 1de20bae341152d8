"""Speech as a job: journalled sentence by sentence, so that another host can continue it.

The audio itself is passed on and not kept. If the client reads too slowly, the job leaves its host and a new
one continues after the last sentence once the client has read what was ready: little is buffered, however
long the text is.
"""

import asyncio

import msgspec

from frontend.errors import QueueFull
from frontend.observability.metrics import ModelMetrics
from frontend.routing.job import Job
from frontend.routing.recovery import Progress
from frontend.routing.router import Model
from frontend.tasks.stream import OutputStream
from ipc.continuation import Continuation
from ipc.messages import Payload, Reply, Speak, Spoken

BUFFER_BYTES = 4 * 1024**2  # of audio that the client has not taken, from which the job waits for the client
_RETRY_SECONDS = 1.0  # after a full queue


class Sound(msgspec.Struct, frozen=True):
    """The bytes that one sentence added to an audio file."""

    data: bytes
    ends: bool  # the file is complete


class Journal(msgspec.Struct):
    """What has been spoken so far."""

    sentences: int = 0
    samples: int = 0


class SpeechJob(Job):
    """A text, from the first sentence that is not in the journal."""

    param = "input"
    work: Speak

    def __init__(self, work: Speak, body: bytes, arrived_at: float, speech: "Speech") -> None:
        super().__init__(work, body, arrived_at, max_units=0)
        self._speech = speech

    @property
    def progress(self) -> Progress:
        """The point is the number of sentences."""
        return Progress(self._speech.journal.sentences, Continuation.BY_TEXT, visible=True)

    def message(self, request_id: int, payload: Payload) -> Speak:
        journal = self._speech.journal
        return msgspec.structs.replace(
            self.work,
            request_id=request_id,
            payload=payload,
            resume_sentences=journal.sentences,
            resume_samples=journal.samples,
        )

    def take(self, reply: Reply, now: float, metrics: ModelMetrics) -> None:
        assert isinstance(reply, Spoken)
        assert isinstance(reply.payload, bytes)
        journal = self._speech.journal
        if not journal.sentences and self.died_at is None:
            metrics.time_to_first_audio().observe(now - self.arrived_at)
        journal.sentences += reply.units
        journal.samples += reply.samples
        metrics.spoken_seconds().inc(reply.samples / self._speech.sample_rate)
        self._speech.push(Sound(reply.payload, reply.last))

    def flush(self) -> None:
        self._speech.flush()

    def fail(self, error: Exception) -> None:
        self._speech.cancel(error)


class Speech(OutputStream[Sound]):
    """One text's audio. The time limit of a request begins again with each sentence."""

    def __init__(self, model: Model, work: Speak, body: bytes, sample_rate: int) -> None:
        """`sample_rate` in samples per second."""
        self.journal = Journal()
        self.sample_rate = sample_rate
        self._model = model
        self._body = body
        self._job = SpeechJob(work, body, model.now(), self)
        self._waits = False  # for the client
        self._retry: asyncio.TimerHandle | None = None  # after a full queue
        self._held = 0  # bytes that were not taken yet
        super().__init__(1, lambda: model.drop([self._job]))

    @property
    def running(self) -> bool:
        """Neither complete nor failed."""
        return self._error is None and self._unfinished > 0

    @property
    def seconds(self) -> float:
        """Of audio so far."""
        return self.journal.samples / self.sample_rate

    def start(self, age_seconds: float) -> None:
        """Raises as `Model.submit`."""
        self._model.submit([self._job])
        self.expires(self._model.call_when_late(age_seconds, self.cancel))

    def push(self, output: Sound) -> None:
        super().push(output)
        self.expires(self._model.call_when_late(0.0, self.cancel))
        self._held += len(output.data)
        if self._held >= BUFFER_BYTES and not output.ends:
            asyncio.get_running_loop().call_soon(self._pause)  # not while a reply is being taken

    def take(self) -> list[Sound]:
        sounds = super().take()
        self._held = 0
        if self._waits and self._retry is None:
            self._resume()
        return sounds

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        super().close()

    def _pause(self) -> None:
        if self._held >= BUFFER_BYTES and not self._waits and self.running:
            self._waits = True
            self._model.drop([self._job])

    def _resume(self) -> None:
        self._retry = None
        if not self.running:
            return
        job = SpeechJob(self._job.work, self._body, self._model.now(), self)
        try:
            self._model.submit([job])
        except QueueFull:
            self._retry = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._resume)
        except Exception as error:
            self.cancel(error)
        else:
            self._waits = False
            self._job = job


def speak(model: Model, work: Speak, body: bytes, sample_rate: int, age_seconds: float = 0.0) -> Speech:
    """Start reading a text aloud, for a request of that age. The caller closes it.

    Raises ModelUnavailable, QueueFull, RequestTooLarge, RequestBlamed or ShuttingDown.
    """
    speech = Speech(model, work, body, sample_rate)
    speech.start(age_seconds)
    return speech
