"""From a loaded library to a VectorEngine: a first run, the limits and the card."""

import time
from collections.abc import Callable
from typing import NamedTuple

import openvino_genai as genai

from host.engines.base import Body
from host.engines.pipeline import device_name
from host.facts import inference_threads, weights_format
from host.model_folder import VARIED_TEXT, check_vocabulary, fingerprint
from host.results import Results
from host.vectors.batch import make_batch
from host.vectors.engine import VectorEngine
from host.vectors.folder import VectorFolder
from host.vectors.framing import PROBES
from host.vectors.model import Head, Library, Model
from host.vectors.planning import Limits
from host.vectors.request import TokenRow, VectorRequest
from host.vectors.tokenizer import Tokenizer
from ipc.messages import Launch, VectorCard, VectorOptions, Work

SLOTS = 256  # requests taken in at once: enough to fill batches from

_RUNS = 3  # of each shape that is timed
_TIMING_SECONDS = 1.0  # of large models, one run must do
_TIMED_SHAPE = (4, 32)  # rows, tokens
_OVERHEAD_TOKENS = (8, 256)  # what is believed
_PASS_SECONDS = 1.0  # others wait, and a cancel takes effect, after a pass
_MIN_BATCH_TOKENS = 128  # smaller batches cost more per token


class Costs(NamedTuple):
    """Of a forward pass."""

    overhead: int  # beside its tokens, in tokens
    seconds_per_token: float


class Facts(NamedTuple):
    """What requests are checked against and made with."""

    tokenizer: Tokenizer
    window: int  # tokens of an input, special ones included
    vocab_size: int
    width: int  # numbers per input
    limit_bytes: int  # of a result


def start_engine(
    launch: Launch[VectorOptions],
    results: Results,
    folder: VectorFolder,
    library: Library,
    head: Head,
    reader: Callable[[Facts], Callable[[Work, Body], VectorRequest]],
) -> VectorEngine:
    """Warm a model up, so that no request waits for its kernels to be compiled, and serve it.

    The card's `load_seconds` are for the caller to set. Raises what the model raises, and ValueError if its
    outputs are not of the task.
    """
    tokenizer, model = library.tokenizer, Model(library.model, head)
    window = _readable(tokenizer, folder.window)
    width, costs = _warm_up(tokenizer, model, folder)
    card = VectorCard(
        device_name=device_name(launch.device),
        slots=SLOTS,
        context_length=window,
        load_seconds=0.0,
        fingerprint=fingerprint(folder.path, genai.get_version()),
        properties=library.model.chosen,
        threads=inference_threads(launch),
        weights=weights_format(folder.path / "openvino_model.xml"),
        dimensions=width,
        prompts={},
    )
    facts = Facts(tokenizer, window, folder.vocab_size, width, results.limit_bytes)
    tokens = batch_tokens(launch.options.max_batch_tokens, costs.seconds_per_token)
    limits = Limits(tokens, window, costs.overhead)
    return VectorEngine(
        card, reader(facts), tokenizer, model, limits, folder.pad_token_id, results, launch.stall_seconds
    )


def _readable(tokenizer: Tokenizer, window: int) -> int:
    """The window or, if less, what the tokenizer reads: some have a limit in their graph, at which they cut
    texts without a word."""
    words = window + 1
    (ids,) = tokenizer.encode(["1 2 " * (words // 2 + 1)])
    special = tokenizer.framing.single_tokens
    return window if len(ids) + special > window else len(ids) + special - 1


def _warm_up(tokenizer: Tokenizer, model: Model, folder: VectorFolder) -> tuple[int, Costs]:
    """Numbers per input, and what passes cost."""
    check_vocabulary(folder.path, tokenizer.encode([VARIED_TEXT])[0], folder.vocab_size)
    probe = tokenizer.framing.single(tokenizer.encode(PROBES[:1])[0])
    rows, length = _TIMED_SHAPE
    length = max(len(probe.ids), min(length, folder.window))
    width, short = _timed(model, [probe], 1, len(probe.ids), folder.pad_token_id)
    _, long = _timed(model, [probe] * rows, rows, length, folder.pad_token_id)
    return width, costs_of(len(probe.ids), short, rows * length, long)


def costs_of(short_tokens: int, short: float, long_tokens: int, long: float) -> Costs:
    """By the seconds that a short and a long pass took."""
    lowest, highest = _OVERHEAD_TOKENS
    per_token = (long - short) / (long_tokens - short_tokens)
    overhead = round(short / per_token) - short_tokens if per_token > 0 else highest
    return Costs(max(lowest, min(highest, overhead)), long / long_tokens)


def batch_tokens(most: int, seconds_per_token: float) -> int:
    """Tokens of a pass: at most `most`, and fewer where a pass of them would hold others up for long."""
    return min(most, max(_MIN_BATCH_TOKENS, int(_PASS_SECONDS / seconds_per_token)))


def _timed(model: Model, inputs: list[TokenRow], rows: int, length: int, pad: int) -> tuple[int, float]:
    batch = make_batch(inputs, rows, length, pad)
    seconds: list[float] = []
    while len(seconds) < _RUNS and sum(seconds) < _TIMING_SECONDS:
        began = time.perf_counter()
        values = model.run(batch)
        seconds.append(time.perf_counter() - began)
    return values.shape[1], min(seconds)
