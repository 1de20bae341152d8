"""Cuts sentences that have more phonemes than Kokoro takes at once: by words, else anywhere. Pure."""

from host.speech.text import MAX_CHARACTERS, sentences

_LIMIT = 400.0  # phonemes, estimated; the model takes 510
_DIGIT = 12.0  # phonemes of a digit where espeak-ng reads numbers
_LETTER = 1.3


def parts_to_read(text: str, tag: str, speed: float) -> list[str]:
    """What is read in one call each, and counts as one sentence: the same for each host.

    `tag` is the text's language. Slow speech is cut into smaller parts, so that no call takes long.
    """
    share = min(1.0, speed)
    found = sentences(text, tag, int(MAX_CHARACTERS * share))
    return [part for sentence in found for part in cut_by_phonemes(sentence, _LIMIT * share)]


def cut_by_phonemes(sentence: str, limit: float = _LIMIT) -> list[str]:
    """Parts of a sentence, in order, with at most about `limit` phonemes each. None is empty."""
    parts, part, total = [], "", 0.0
    for word in sentence.split():
        for piece in _pieces(word, limit):
            cost = _cost(piece) + _LETTER
            if part and total + cost > limit:
                parts.append(part)
                part, total = "", 0.0
            part, total = f"{part} {piece}" if part else piece, total + cost
    return [*parts, part] if part else parts


def _pieces(word: str, limit: float) -> list[str]:
    if _cost(word) <= limit / 2:
        return [word]
    size = max(1, int(limit / 2 / _DIGIT))
    return [word[start : start + size] for start in range(0, len(word), size)]


def _cost(text: str) -> float:
    return sum(_DIGIT if character.isdigit() else _LETTER for character in text)
