"""English sentences for benchmarks of speech, reproducible by their seed."""

from random import Random

_QUALITIES = "old quiet narrow bright early heavy gentle distant wooden careful famous empty".split()
_THINGS = "river garden station teacher letter window captain village market bridge engine harbour".split()
_ACTIONS = "followed opened remembered painted crossed described repaired found watched carried".split()
_PLACES = (
    "near the mountain|after the storm|before breakfast|in the morning|behind the school|at the end of summer"
)
_LONGEST = 11  # words of a sentence


def sentences(seed: int, index: int, words: int) -> list[str]:
    """Sentences of 8 to 11 words each, at least `words` together. Those of each index differ."""
    random = Random(f"sentences {seed} {index}")  # noqa: S311 - reproducible, not secret
    found: list[str] = []
    count = 0
    while count < words:
        found.append(_sentence(random))
        count += len(found[-1].split())
    return found


def words_of(seed: int, index: int, count: int) -> int:
    """How many words the first `count` of these sentences have together."""
    return sum(len(sentence.split()) for sentence in sentences(seed, index, _LONGEST * count)[:count])


def _sentence(random: Random) -> str:
    first, second = random.sample(_THINGS, 2)
    quality, other = random.sample(_QUALITIES, 2)
    place = random.choice(_PLACES.split("|"))
    return f"The {quality} {first} {random.choice(_ACTIONS)} the {other} {second} {place}."
