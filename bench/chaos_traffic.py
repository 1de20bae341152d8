"""What the clients of `nacelle bench chaos` ask, and how an answer is compared with the undisturbed one."""

import array
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from bench.client import JSON_TYPE, Client, Response
from bench.completions import PATHS as TEXT_PATHS
from bench.completions import Said, read_text, request_body
from bench.forms import CONTENT_TYPE as FORM_TYPE
from bench.pictures import data_urls
from bench.realtime import PATH as REALTIME_PATH
from bench.realtime import encode_parts, transcribe, words
from bench.recordings import Recording, wav
from bench.sentences import sentences
from bench.speech import PATH as SPEECH_PATH
from bench.speech import SAMPLE_RATE, read_samples, speech_body
from bench.transcripts import PATH as TRANSCRIPTION_PATH
from bench.transcripts import Heard, Span, read_transcript, transcription_body
from bench.vectors import PATHS as VECTOR_PATHS
from bench.vectors import VectorTask, VectorWorkload, read_vectors
from bench.workload import text_prompt

# Between a vector and the expected one, or between scores. In exact arithmetic, the other texts of a batch
# change a number by 1e-7.
TOLERANCE = 1e-5

TIME_TOLERANCE = 0.05  # seconds, of a segment's start and end
SAMPLE_TOLERANCE = 32  # of 32768

_REQUESTS = 32
_PROMPT_WORDS = 16
_INPUTS = 16  # of each request for vectors
_SPREAD = 0.8
_VISION_REQUESTS = 16
_IMAGE_SIZE = 224
_SPEECH_REQUESTS = 3
_SPEECH_WORDS = 24  # three sentences
_VOICE = "alloy"

Answer = Said | list[list[float]] | Heard | bytes


class Lane(msgspec.Struct, frozen=True):
    """What some clients ask in turn. Lanes of one task expect the same answers."""

    task: str
    path: str
    bodies: list[bytes]
    read: Callable[[Response], Answer]  # raises BadAnswer
    content_type: str = JSON_TYPE
    ask: Callable[[Client, bytes, float], Awaitable[Response]] | None = None  # instead of a POST
    pause: float = 0.0  # seconds between an answer and the next request

    async def post(self, client: Client, index: int, deadline: float) -> Response:
        """The answer to one request, within `deadline` seconds. Raises a ClientError."""
        body = self.bodies[index]
        if self.ask is not None:
            return await self.ask(client, body, deadline)
        return await client.post(self.path, body, deadline, self.content_type)


def text_lanes(model: str, max_tokens: int, seed: int) -> tuple[Lane, Lane]:
    """Greedy chats, as whole answers and streamed."""
    return _chat_lanes("text", model, max_tokens, seed, [[] for _ in range(_REQUESTS)])


def vision_lanes(model: str, max_tokens: int, seed: int) -> tuple[Lane, Lane]:
    """Greedy chats about one image each, as whole answers and streamed."""
    images = [data_urls(seed, index, 1, _IMAGE_SIZE) for index in range(_VISION_REQUESTS)]
    return _chat_lanes("vision", model, max_tokens, seed, images)


def _chat_lanes(
    task: str, model: str, max_tokens: int, seed: int, images: list[list[str]]
) -> tuple[Lane, Lane]:
    body = partial(request_body, model, "chat", max_tokens=max_tokens, ignore_eos=True)
    prompts = [text_prompt(seed, index, _PROMPT_WORDS) for index in range(len(images))]
    whole, streamed = (
        [body(prompt, stream=stream, images=urls) for prompt, urls in zip(prompts, images, strict=True)]
        for stream in (False, True)
    )
    path = TEXT_PATHS["chat"]
    return Lane(task, path, whole, read_text), Lane(task, path, streamed, read_text)


def vector_lane(task: VectorTask, model: str, seed: int) -> Lane:
    workload = VectorWorkload(task, _REQUESTS, _INPUTS, _PROMPT_WORDS, seed, _SPREAD)
    return Lane(task, VECTOR_PATHS[task], workload.bodies(model), read_vectors)


def speech_lane(model: str, seed: int) -> Lane:
    """Texts of several sentences, spoken as raw samples and as WAV in turn."""
    texts = [" ".join(sentences(seed, index, _SPEECH_WORDS)) for index in range(_SPEECH_REQUESTS)]
    bodies = [
        speech_body(model, _VOICE, text, "wav" if index % 2 else "pcm") for index, text in enumerate(texts)
    ]
    return Lane("speech", SPEECH_PATH, bodies, read_samples)


def transcription_lanes(model: str, recordings: Sequence[Recording]) -> tuple[Lane, Lane]:
    """Transcripts with the times of their segments, and streamed ones."""
    whole, streamed = (
        Lane(
            "transcription",
            TRANSCRIPTION_PATH,
            [transcription_body(model, recording, stream=stream) for recording in recordings],
            read_transcript,
            FORM_TYPE,
        )
        for stream in (False, True)
    )
    return whole, streamed


def realtime_lane(model: str, spoken: Sequence[Answer]) -> Lane:
    """Sessions into which everything that was spoken is streamed, from another answer on each time."""
    parts = [samples for samples in spoken if isinstance(samples, bytes)]
    bodies = [encode_parts(parts[first:] + parts[:first]) for first in range(len(parts))]
    return Lane("realtime", REALTIME_PATH, bodies, _session_words, ask=partial(transcribe, model))


def _session_words(response: Response) -> Answer:
    return Said(" ".join(words(response)), None, None)


def recordings_of(spoken: Sequence[Answer]) -> list[Recording]:
    """Recordings of several windows each: all that was spoken, from another answer on each time."""
    parts = [samples for samples in spoken if isinstance(samples, bytes)]
    return [
        Recording("spoken.wav", wav(b"".join(parts[first:] + parts[:first]), SAMPLE_RATE), None)
        for first in range(len(parts))
    ]


def difference(expected: Answer, got: Answer) -> str | None:
    """What is wrong with an answer, in words; None if it is the expected one.

    Texts must be equal, with their numbers of tokens and finish reasons; transcripts too, with the times of
    their segments within TIME_TOLERANCE; vectors and scores within TOLERANCE, samples of speech within
    SAMPLE_TOLERANCE.
    """
    if isinstance(expected, Heard) and isinstance(got, Heard):
        return _misheard(expected, got)
    if isinstance(expected, bytes) and isinstance(got, bytes):
        return _misspoken(expected, got)
    if isinstance(expected, list) and isinstance(got, list):
        return _misplaced(expected, got)
    return None if expected == got else f"expected {expected!r}, got {got!r}"


def _misheard(expected: Heard, got: Heard) -> str | None:
    if expected.text.strip() != got.text.strip():
        return f"expected {expected.text!r}, got {got.text!r}"
    if expected.segments is None or got.segments is None:  # streamed
        return None
    if len(expected.segments) != len(got.segments):
        return f"expected {expected.segments}, got {got.segments}"
    pairs = zip(expected.segments, got.segments, strict=True)
    return next((f"expected {one}, got {other}" for one, other in pairs if not _alike(one, other)), None)


def _alike(one: Span, other: Span) -> bool:
    apart = max(abs(one.start - other.start), abs(one.end - other.end))
    return one.text.strip() == other.text.strip() and apart <= TIME_TOLERANCE


def _misspoken(expected: bytes, got: bytes) -> str | None:
    if len(expected) != len(got):
        seconds = [len(samples) / 2 / SAMPLE_RATE for samples in (expected, got)]
        return f"expected {seconds[0]:.3f} s of speech, got {seconds[1]:.3f} s"
    if expected == got:
        return None
    pairs = zip(array.array("h", expected), array.array("h", got), strict=True)
    wrong = [index for index, (one, other) in enumerate(pairs) if abs(one - other) > SAMPLE_TOLERANCE]
    return f"{len(wrong)} samples differ, the first at {wrong[0] / SAMPLE_RATE:.3f} s" if wrong else None


def _misplaced(expected: list[list[float]], got: list[list[float]]) -> str | None:
    if [len(row) for row in expected] != [len(row) for row in got]:
        return f"expected {_shape(expected)}, got {_shape(got)}"
    distances = [math.dist(one, other) for one, other in zip(expected, got, strict=True)]
    wrong = [distance for distance in distances if not distance <= TOLERANCE]  # or not a number
    return f"{len(wrong)} of {len(got)} differ, the first by {wrong[0]:g}" if wrong else None


def _shape(rows: Sequence[Sequence[float]]) -> str:
    return f"{len(rows)} × {sorted({len(row) for row in rows})} numbers"
