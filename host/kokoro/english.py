"""English text that GenAI's pipeline reads without leaving a letter out.

Its tokenizer takes ASCII words only; any other character counts as punctuation and vanishes. Letters with
accents lose them here, and words in other scripts are written with their phonemes, as [word](/phonemes/).
"""

import re
import unicodedata
from collections.abc import Callable

_LONGEST_WORD = 60  # letters; longer words are cut, since the pipeline drops what exceeds a chunk
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FOLDED = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th", "ı": "i"}
_FOLDED |= {letter.upper(): ascii_.upper() for letter, ascii_ in _FOLDED.items() if letter.upper() != "SS"}
_MARKUP = str.maketrans("[]\\", "() ")  # of the pipeline's own notations

Phonemes = Callable[[str], str]


def readable_english(text: str, phonemes: Phonemes | None) -> str:
    """The text with words that the pipeline takes. `phonemes` returns those of a foreign word; without it,
    such words are spelled by the names of their letters."""
    return _WORD.sub(lambda word: _word(word[0], phonemes), text.translate(_MARKUP))


def _word(word: str, phonemes: Phonemes | None) -> str:
    folded = folded_to_ascii(word.replace("’", "'"))
    if folded.isascii():
        return " ".join(folded[at : at + _LONGEST_WORD] for at in range(0, len(folded), _LONGEST_WORD))
    spoken = phonemes(word[:_LONGEST_WORD]).strip() if phonemes else ""
    return f"[word](/{spoken}/)" if spoken and "/" not in spoken else spelled(word)


def folded_to_ascii(word: str) -> str:
    """Without accents and ligatures; letters of other scripts stay."""
    decomposed = unicodedata.normalize("NFKD", "".join(_FOLDED.get(letter, letter) for letter in word))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def spelled(word: str) -> str:
    """The names of a word's letters: "alpha beta"."""
    return " ".join(_letter_name(letter) for letter in word[:_LONGEST_WORD])


def _letter_name(letter: str) -> str:
    name = unicodedata.name(letter, "")
    if letter.isascii() or not name:
        return letter
    if "LETTER" in name or "DIGIT" in name:
        return name.rpartition(" ")[2].lower()
    return "character"
