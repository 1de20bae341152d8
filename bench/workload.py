"""A benchmark's requests: prompts and arrival times, reproducible by their seed."""

from random import Random

import msgspec

# Each word, with a space before it, is one token in the byte-level BPE vocabularies of common models.
_WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
which one you were all her she there would their we him been has when who will no more if out so up said
what its about than into them can only other time new some could these two may first then do any like my now
over such our man me even most made after also did many off before must well back through years much where
your way down should because long each just state people those too mr how little good world make very year
still see own work men day get here old life both between being under three never know same last another
while us might great go come since against right came take used himself few house use place during high
without again home around small however found part school every war room left early water point city power
country land food light river morning
""".split()

_TOKEN_IDS = range(1000, 20_000)  # ordinary text in any vocabulary of at least 20 000 entries

Prompt = str | list[int]


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run's requests: `concurrency` at a time, or `request_rate` per second regardless of the answers."""

    requests: int
    max_tokens: int
    prompt_words: int
    seed: int
    prompt_tokens: int | None = None  # instead of words: prompts of exactly this many random token ids
    shared_prefix_tokens: int = 0  # before each of those
    concurrency: int = 1
    request_rate: float | None = None
    ignore_eos: bool = False
    images: int = 0  # plain ones in each chat request, before the text
    image_size: int = 448  # pixels of width and height
    copies: int = 1  # of the words in each text prompt, which make a model continue copying

    def prompts(self) -> list[Prompt]:
        """One prompt per request. No two share a prefix, except `shared_prefix_tokens`."""
        if self.prompt_tokens is not None:
            prefix = token_prompt(self.seed, -1, self.shared_prefix_tokens)
            own = [token_prompt(self.seed, index, self.prompt_tokens) for index in range(self.requests)]
            return [[*prefix, *tokens] for tokens in own]
        texts = [text_prompt(self.seed, index, self.prompt_words) for index in range(self.requests)]
        return [" ".join([text] * self.copies) for text in texts]

    def arrivals(self) -> list[float] | None:
        """Seconds after the start at which each request is sent; None for a closed loop."""
        return (
            None
            if self.request_rate is None
            else poisson_arrivals(self.seed, self.request_rate, self.requests)
        )


def text_prompt(seed: int, index: int, words: int) -> str:
    """English-like text of `words` words, which are about as many tokens.

    It begins with a random number, so that a server's prefix cache cannot hide the prefill.
    """
    random = Random(f"text {seed} {index}")  # noqa: S311 - reproducible, not secret
    opening = f"{random.getrandbits(24)}"
    return " ".join([opening, *random.choices(_WORDS, k=max(0, words - 1))])


def token_prompt(seed: int, index: int, tokens: int) -> list[int]:
    """Exactly `tokens` token ids, for the completions endpoint."""
    random = Random(f"tokens {seed} {index}")  # noqa: S311 - reproducible, not secret
    return random.choices(_TOKEN_IDS, k=tokens)


def poisson_arrivals(seed: int, rate: float, count: int) -> list[float]:
    """`count` arrival times in seconds, the first at 0, with exponential gaps of mean 1/rate."""
    random = Random(f"arrivals {seed}")  # noqa: S311 - reproducible, not secret
    times = [0.0]
    while len(times) < count:
        times.append(times[-1] + random.expovariate(rate))
    return times[:count]
