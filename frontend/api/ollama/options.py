"""Ollama's `options`: what they are called there, and what they are here. Pure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from frontend.api.schema.common import MAX_STOP_STRINGS, StopString
from ipc.messages import Sampling

_INT64 = 2**63
_NO_PENALTY = 1.0

# Clients that have only one kind of number send 5.0 for 5.
Count = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | Annotated[float, Meta(ge=-(2**31), le=2**31 - 1)]
Seed = Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)] | Annotated[float, Meta(ge=-(2**53), le=2**53)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Options(msgspec.Struct, kw_only=True):
    """Options that are honoured, and `num_ctx`, which is only checked: a served model's context is fixed.

    All others are ignored, as Ollama ignores what it does not know.
    """

    num_predict: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=1000)] | None = None
    top_k: Count | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Seed | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=MAX_STOP_STRINGS)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    repeat_last_n: Count | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    num_ctx: Count | None = None


NO_OPTIONS = Options()

# What hosts call the parameters → what they are called here.
PARAMS = {
    "max_tokens": "options.num_predict",
    "repetition_penalty": "options.repeat_penalty",
    **{
        name: f"options.{name}"
        for name in (
            "temperature",
            "top_k",
            "top_p",
            "min_p",
            "seed",
            "presence_penalty",
            "frequency_penalty",
        )
    },
}


def sampling_of(options: Options, logprobs: bool = False) -> Sampling:
    """What is not given is left to the model's own defaults.

    As in Ollama, a `num_predict` of 0 or less means no limit, one beyond the context is cut, and a `seed` of
    -1 means a random one.
    """
    greedy = options.top_p == 0  # an empty nucleus holds the most likely token alone
    most = int(options.num_predict or 0)
    return Sampling(
        max_tokens=most if most > 0 else None,
        temperature=0.0 if greedy else options.temperature,
        top_p=None if greedy else options.top_p,
        top_k=None if options.top_k is None else max(0, int(options.top_k)),
        min_p=options.min_p,
        repetition_penalty=_NO_PENALTY if options.repeat_last_n == 0 else options.repeat_penalty,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        seed=None if options.seed is None or options.seed == -1 else int(options.seed) % 2**64,
        stop=[options.stop] if isinstance(options.stop, str) else options.stop or [],
        logprobs=logprobs,
    )
