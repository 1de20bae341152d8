"""What the clients of `nacelle bench chaos` ask, and how an answer is compared with the undisturbed one."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from bench.client import Response
from bench.completions import PATHS as TEXT_PATHS
from bench.completions import Said, read_text, request_body
from bench.vectors import PATHS as VECTOR_PATHS
from bench.vectors import VectorTask, VectorWorkload, read_vectors
from bench.workload import text_prompt

# Between a vector and the expected one, or between scores. In exact arithmetic, the other texts of a batch
# change a number by 1e-7.
TOLERANCE = 1e-5

_REQUESTS = 32
_PROMPT_WORDS = 16
_INPUTS = 16  # of each request for vectors
_SPREAD = 0.8

Answer = Said | list[list[float]]


class Lane(msgspec.Struct, frozen=True):
    """What some clients ask in turn. Lanes of one task expect the same answers."""

    task: str
    path: str
    bodies: list[bytes]
    read: Callable[[Response], Answer]  # raises BadAnswer


def text_lanes(model: str, max_tokens: int, seed: int) -> tuple[Lane, Lane]:
    """Greedy chats, as whole answers and streamed."""
    prompts = [text_prompt(seed, index, _PROMPT_WORDS) for index in range(_REQUESTS)]
    body = partial(request_body, model, "chat", max_tokens=max_tokens, ignore_eos=True)
    whole, streamed = (
        Lane("text", TEXT_PATHS["chat"], [body(prompt, stream=stream) for prompt in prompts], read_text)
        for stream in (False, True)
    )
    return whole, streamed


def vector_lane(task: VectorTask, model: str, seed: int) -> Lane:
    workload = VectorWorkload(task, _REQUESTS, _INPUTS, _PROMPT_WORDS, seed, _SPREAD)
    return Lane(task, VECTOR_PATHS[task], workload.bodies(model), read_vectors)


def difference(expected: Answer, got: Answer) -> str | None:
    """What is wrong with an answer, in words; None if it is the expected one.

    Texts must be equal, with their numbers of tokens and finish reasons; vectors and scores within TOLERANCE.
    """
    if isinstance(expected, Said) or isinstance(got, Said):
        return None if expected == got else f"expected {expected}, got {got}"
    if [len(row) for row in expected] != [len(row) for row in got]:
        return f"expected {_shape(expected)}, got {_shape(got)}"
    distances = [math.dist(one, other) for one, other in zip(expected, got, strict=True)]
    wrong = [distance for distance in distances if not distance <= TOLERANCE]  # or not a number
    return f"{len(wrong)} of {len(got)} differ, the first by {wrong[0]:g}" if wrong else None


def _shape(rows: Sequence[Sequence[float]]) -> str:
    return f"{len(rows)} × {sorted({len(row) for row in rows})} numbers"
