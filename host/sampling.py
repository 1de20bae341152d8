"""What a request asked for, checked and completed with the model's defaults. Pure."""

import math
import struct

import msgspec

from host.engines.base import RequestRefused, context_length_exceeded
from host.model_folder import SamplingDefaults
from host.vocabulary import Vocabulary
from ipc.continuation import Continuation, continuation
from ipc.errors import ErrorCode
from ipc.messages import Sampling

_MAX_SEED = 2**64 - 1
_MAX_TOP_K = 2**31 - 1
_GREEDY_BELOW = 1e-5  # logits divided by less than this overflow
_FLOAT32 = struct.Struct("<f")


class Limits(msgspec.Struct, frozen=True):
    """What a replica can hold, in tokens, and what its vocabulary can spell."""

    context_length: int
    vocab_size: int
    kv_cache_tokens: int
    vocabulary: Vocabulary | None = None  # None if it is not known


class Choices(msgspec.Struct, frozen=True):
    """A complete and valid set of sampling values."""

    max_tokens: int
    min_tokens: int
    temperature: float  # 0 is greedy
    top_p: float
    top_k: int  # 0 is off
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int | None  # the client's; None means that any will do
    stop: tuple[str, ...]
    ignore_eos: bool
    stop_token_ids: frozenset[int]
    include_stop: bool
    stop_at_turns: bool
    skip_special_tokens: bool
    logprobs: bool
    structural_tag: str  # the grammar as JSON; empty for none

    @property
    def can_be_continued(self) -> bool:
        """Whether prompt + generated tokens as a new prompt goes on exactly as the request would have."""
        return self.continuation() is Continuation.BY_TEXT

    def continuation(self, images: bool = False) -> Continuation:
        """How a request goes on after a loss, given whether its prompt has `images`."""
        return continuation(
            greedy=self.temperature == 0,
            seeded=self.seed is not None,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            grammar=bool(self.structural_tag),
            images=images,
        )


def resolve(
    sampling: Sampling,
    defaults: SamplingDefaults,
    limits: Limits,
    prompt_tokens: int,
    prompt_param: str,
    structural_tag: str = "",
) -> Choices:
    """Raises RequestRefused naming the parameter as the OpenAI API does; `prompt_param` names the prompt.

    `structural_tag` is what the engine is to make of the grammar, if it can.
    """
    if sampling.max_tokens is not None and 0 <= sampling.max_tokens < sampling.min_tokens:
        raise _invalid("min_tokens", "min_tokens must be between 0 and max_tokens")
    temperature = _single(sampling.temperature, defaults.temperature)
    max_tokens = _max_tokens(wanted_tokens(sampling, defaults), limits, prompt_tokens, prompt_param)
    choices = Choices(
        max_tokens=max_tokens,
        min_tokens=min(sampling.min_tokens, max_tokens),
        temperature=0.0 if 0 < temperature < _GREEDY_BELOW else temperature,
        top_p=_single(sampling.top_p, defaults.top_p),
        top_k=max(0, defaults.top_k if sampling.top_k is None else sampling.top_k),
        min_p=_single(sampling.min_p, defaults.min_p),
        repetition_penalty=_single(sampling.repetition_penalty, defaults.repetition_penalty),
        presence_penalty=_single(sampling.presence_penalty, 0.0),
        frequency_penalty=_single(sampling.frequency_penalty, 0.0),
        seed=sampling.seed,
        stop=tuple(sampling.stop),
        ignore_eos=sampling.ignore_eos and not structural_tag,  # a grammar ends with an end-of-sequence
        stop_token_ids=frozenset(sampling.stop_token_ids),
        include_stop=sampling.include_stop,
        stop_at_turns=sampling.stop_at_turns and not (sampling.ignore_eos or structural_tag),
        skip_special_tokens=sampling.skip_special_tokens,
        logprobs=sampling.logprobs,
        structural_tag=structural_tag,
    )
    _check_ranges(choices)
    check_token_ids(sampling.stop_token_ids, limits, "stop_token_ids")
    return choices


def wanted_tokens(sampling: Sampling, defaults: SamplingDefaults) -> int | None:
    """How many tokens to generate if the context has room for them; None for as many as it has."""
    return defaults.max_tokens if sampling.max_tokens is None else sampling.max_tokens


def check_token_ids(token_ids: list[int], limits: Limits, param: str = "prompt") -> None:
    """Raises RequestRefused: the engine itself would take any number."""
    for token_id in token_ids:
        if not 0 <= token_id < limits.vocab_size:
            raise _invalid(param, f"token id {token_id} is outside the vocabulary of {limits.vocab_size}")


def tokens_to_keep(sampling: Sampling, limits: Limits) -> int | None:
    """How many of a prompt's last tokens are used; None for all. Raises RequestRefused."""
    asked = sampling.truncate_prompt
    if asked == -1:
        room = min(limits.context_length, limits.kv_cache_tokens)
        reserved = 1 if sampling.max_tokens is None else sampling.max_tokens
        return max(1, room - (reserved if reserved < room else room // 2))
    if asked is not None and asked < 1:
        raise _invalid("truncate_prompt_tokens", "truncate_prompt_tokens must be at least 1, or -1")
    return asked


def _single(value: float | None, default: float) -> float:
    """Rounded as the engine rounds it: 1e-50 is its 0, and too large a number its infinity."""
    try:
        (single,) = _FLOAT32.unpack(_FLOAT32.pack(default if value is None else value))
    except OverflowError:
        return math.inf
    return float(single)


def _invalid(param: str, message: str) -> RequestRefused:
    return RequestRefused(ErrorCode.INVALID_VALUE, message, param)


def _max_tokens(wanted: int | None, limits: Limits, prompt_tokens: int, prompt_param: str) -> int:
    """`wanted`, or what the context has room for if that is less: a prompt that leaves no room is refused."""
    if wanted is not None and wanted < 0:
        raise _invalid("max_tokens", f"max_tokens must be at least 0, not {wanted}")
    least = 1 if wanted is None else min(wanted, 1)
    if prompt_tokens + least > limits.context_length:
        raise context_length_exceeded(
            limits.context_length,
            f"your prompt has {prompt_tokens}" + (", which leaves no room for an answer" if least else ""),
            prompt_param,
            prompt_tokens,
        )
    if prompt_tokens + least > limits.kv_cache_tokens:
        raise RequestRefused(
            ErrorCode.KV_CACHE_EXCEEDED,
            f"a prompt of {prompt_tokens} tokens and its answer exceed this server's KV cache of "
            f"{limits.kv_cache_tokens} tokens",
            prompt_param,
            (prompt_tokens, limits.kv_cache_tokens),
        )
    room = min(limits.context_length, limits.kv_cache_tokens) - prompt_tokens
    return room if wanted is None else min(wanted, room)


def _check_ranges(choices: Choices) -> None:
    """The engine's own ranges. Written so that NaN fails each of them."""
    penalty = "must be between -2 and 2"
    rules = (
        ("min_tokens", 0 <= choices.min_tokens <= choices.max_tokens, "must be between 0 and max_tokens"),
        ("temperature", 0 <= choices.temperature < math.inf, "must be a number of at least 0"),
        ("top_p", 0 < choices.top_p <= 1, "must be above 0 and at most 1"),
        ("top_k", choices.top_k <= _MAX_TOP_K, f"must be at most {_MAX_TOP_K}"),
        ("min_p", 0 <= choices.min_p < 1, "must be at least 0 and below 1"),
        ("repetition_penalty", 0 < choices.repetition_penalty < math.inf, "must be a number above 0"),
        ("presence_penalty", -2 <= choices.presence_penalty <= 2, penalty),
        ("frequency_penalty", -2 <= choices.frequency_penalty <= 2, penalty),
        ("seed", 0 <= (choices.seed or 0) <= _MAX_SEED, "must be an unsigned 64-bit integer"),
        ("stop", "" not in choices.stop, "must not hold an empty string"),
    )
    for name, holds, rule in rules:
        if not holds:
            raise _invalid(name, f"{name} {rule}")
