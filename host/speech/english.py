"""English text as it is spoken: numbers, dates, units, abbreviations and addresses become words.

Afterwards no digit is left, so that every engine reads the same words. Steps run in order, the special ones
before the general ones. Each takes linear time: what is repeated in a pattern is bounded or possessive.
"""

import re

from host.speech.english_numbers import speak_numbers
from host.speech.english_symbols import speak_symbols
from host.speech.english_times import speak_times
from host.speech.english_words import speak_abbreviations, speak_addresses

_SPACES = re.compile(r"[ \t]{2,}+")


def spoken_english(line: str, *, day_first: bool = False) -> str:
    """One line, without its line break. `day_first`: 3/4/2024 is in April."""
    line = speak_addresses(line)
    line = speak_abbreviations(line)
    if any(character.isdigit() for character in line):
        line = speak_times(line, day_first=day_first)
        line = speak_numbers(line)
    return _SPACES.sub(" ", speak_symbols(line)).strip()
