"""Prompts whose greedy text is beyond doubt, so that answers can be compared token for token.

Where two tokens are as good as equal, rounding decides between them, and it rounds otherwise in a batch of
another size, or where a text is read again instead of written: engines promise nothing there. So a prompt
is taken only if each token of its text has more than half of the probability, by more than rounding bridges.
A prompt that says the same words several times makes a model go on saying them, and be sure of it.
"""

import asyncio
import math

import msgspec

from bench.client import Client, Response
from bench.completions import PATHS, Said, read_text, request_body
from bench.errors import RunFailed
from bench.workload import text_prompt

_LEAST_PROBABILITY = 0.55
_WORDS = 10
_COPIES = 4
_TRIED_AT_ONCE = 16
_TRIED_PER_PROMPT = 12


class _Logprobs(msgspec.Struct):
    token_logprobs: list[float]


class _Choice(msgspec.Struct):
    logprobs: _Logprobs


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Answer)


class Certain(msgspec.Struct, frozen=True):
    prompt: str
    said: Said


async def certain_prompts(
    client: Client, model: str, max_tokens: int, count: int, seed: int, deadline: float
) -> list[Certain]:
    """`count` prompts of /completions with the greedy text of each, the same for the same seed and model.

    Raises ClientError, or RunFailed where the model is not sure often enough. `deadline` is one request's, in
    seconds.
    """
    found: list[Certain] = []
    for first in range(0, count * _TRIED_PER_PROMPT, _TRIED_AT_ONCE):
        prompts = [_prompt(seed, index) for index in range(first, first + _TRIED_AT_ONCE)]
        bodies = [
            request_body(model, "completions", prompt, max_tokens, stream=False, ignore_eos=True, logprobs=0)
            for prompt in prompts
        ]
        answers = await asyncio.gather(
            *(client.post(PATHS["completions"], body, deadline) for body in bodies)
        )
        found += [
            Certain(prompt, read_text(answer))
            for prompt, answer in zip(prompts, answers, strict=True)
            if is_certain(answer)
        ]
        if len(found) >= count:
            return found[:count]
    raise RunFailed(
        f"the model is sure of all tokens in only {len(found)} of {count * _TRIED_PER_PROMPT} tries, "
        f"and {count} are needed; try fewer --max-tokens"
    )


def is_certain(answer: Response) -> bool:
    """Whether each of an answer's tokens had more than half of the probability."""
    (choice,) = _decoder.decode(answer.body).choices
    return min(choice.logprobs.token_logprobs) > math.log(_LEAST_PROBABILITY)


def _prompt(seed: int, index: int) -> str:
    return f" {text_prompt(seed, index, _WORDS)}" * _COPIES
