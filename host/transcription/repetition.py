"""Texts in which a model runs in circles."""

import zlib

from host.transcription.segments import HeardSegment

_MAX_COMPRESSION = 2.4  # of text that people say, as OpenAI's Whisper takes it
_MAX_CHARACTERS_PER_SECOND = 30.0  # people say fewer, also if they repeat themselves
_LONGEST_PERIOD = 120  # characters


def is_loop(text: str, seconds: float, exhausted: bool) -> bool:
    """Whether a text repeats itself as no speaker does. `exhausted`: it had no end of its own.

    Somebody may well say one thing many times: that alone is no loop.
    """
    if not exhausted and len(text) <= _MAX_CHARACTERS_PER_SECOND * seconds:
        return False
    data = text.encode()
    return len(data) / len(zlib.compress(data)) > _MAX_COMPRESSION if data else False


def without_repeats(segments: list[HeardSegment]) -> list[HeardSegment]:
    """Segments without what repeats the one before, and without circles in a text but for the first turn."""
    kept: list[HeardSegment] = []
    for segment in segments:
        text = _one_turn(segment.text)
        if not kept or text.strip() != kept[-1].text.strip():
            kept.append(segment._replace(text=text))
    return kept


def _one_turn(text: str) -> str:
    """A text that ends in at least three equal pieces, with one of them."""
    for period in range(1, min(_LONGEST_PERIOD, len(text) // 3) + 1):
        piece = text[-period:]
        count = 1
        while text.endswith(piece * (count + 1)):
            count += 1
        if count >= 3 and count * period >= 8:
            return text[: len(text) - (count - 1) * period]
    return text
