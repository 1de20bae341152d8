"""Cuts sentences that have more phonemes than Kokoro takes at once: by words, else anywhere. Pure."""

_LIMIT = 400.0  # phonemes, estimated; the model takes 510
_DIGIT = 12.0  # phonemes of a digit where espeak-ng reads numbers
_LETTER = 1.3


def cut_by_phonemes(sentence: str) -> list[str]:
    """Parts of a sentence, in order, that the model takes at once. None is empty."""
    parts, part, total = [], "", 0.0
    for word in sentence.split():
        for piece in _pieces(word):
            cost = _cost(piece) + _LETTER
            if part and total + cost > _LIMIT:
                parts.append(part)
                part, total = "", 0.0
            part, total = f"{part} {piece}" if part else piece, total + cost
    return [*parts, part] if part else parts


def _pieces(word: str) -> list[str]:
    if _cost(word) <= _LIMIT / 2:
        return [word]
    size = max(1, int(_LIMIT / 2 / _DIGIT))
    return [word[start : start + size] for start in range(0, len(word), size)]


def _cost(text: str) -> float:
    return sum(_DIGIT if character.isdigit() else _LETTER for character in text)
