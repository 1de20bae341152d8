"""One line of text → sentences, and long sentences → pieces. Nothing that can be spoken is lost."""

import re
import unicodedata
from collections.abc import Iterator

_TINY = 12  # characters; a shorter sentence is read together with the next one
_TINY_LIMIT = 80  # characters of both

# Full stops need a blank after them; the marks of other scripts do not.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[。！？।॥؟۔]++[\"'”’»」』）)]*+")
_WORD_BEFORE = re.compile(r"([^\s(\"']++)$")
_CLAUSE = re.compile(r"[,;:—)](?=\s)|\s—(?=\s)|[，、；：،؛]")
_BLANK = re.compile(r"\s")

# Words before a full stop that seldom end a sentence, by language.
_ABBREVIATIONS: dict[str, frozenset[str]] = {
    "en": frozenset("dr mr mrs ms prof st vs e.g i.e approx gen col capt lt sgt rev".split()),
    "es": frozenset("sr sra srta dr dra ud uds d dª p.ej ej núm av gral prof".split()),
    "fr": frozenset("m mm mme mlle dr pr st ste p.ex ex env av bd cf".split()),
    "it": frozenset("sig sigg dott dott.ssa prof ing avv on es cfr".split()),
    "pt": frozenset("sr sra srta dr dra prof profa p.ex ex av núm".split()),
    "hi": frozenset("डॉ श्री".split()),
}
_NONE: frozenset[str] = frozenset()


def split_sentences(line: str, language: str, max_characters: int) -> Iterator[str]:
    """The sentences of a line in order, none longer than `max_characters`."""
    for sentence in _joined(_sentences(line, language), max_characters):
        yield from _pieces(sentence, max_characters)


def speakable(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _sentences(line: str, language: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(line):
        if _ends(line, start, end, language):
            yield line[start : end.end()].strip()
            start = end.end()
    yield line[start:].strip()


def _ends(line: str, start: int, end: re.Match[str], language: str) -> bool:
    following = line[end.end() : end.end() + 4].strip()[:1]
    marks = end[0]
    if marks[0] not in ".…!?":
        return True
    if following.islower() and (len(marks) > 1 or (marks == "." and language != "en")):
        return False  # "Really?" he asked; well... yes; an abbreviation, which English has none left of
    if marks != ".":
        return True
    word = _WORD_BEFORE.search(line, max(start, end.start() - 20), end.start())
    if word is None:
        return True
    initial = len(word[1]) == 1 and word[1].isupper() and word[1] != "I"
    return not (initial or word[1].lower() in _ABBREVIATIONS.get(language, _NONE))


def _joined(sentences: Iterator[str], max_characters: int) -> Iterator[str]:
    """Leave out what has nothing to say, and put tiny sentences before the next one."""
    tiny = ""
    for sentence in sentences:
        if not speakable(sentence):
            continue
        if tiny and len(tiny) + len(sentence) < min(_TINY_LIMIT, max_characters):
            sentence, tiny = f"{tiny} {sentence}", ""
        elif tiny:
            yield tiny
            tiny = ""
        if len(sentence) < _TINY:
            tiny = sentence
        else:
            yield sentence
    if tiny:
        yield tiny


def _pieces(sentence: str, max_characters: int) -> Iterator[str]:
    start = 0
    while len(sentence) - start > max_characters:
        cut = _cut(sentence, start, max_characters)
        piece = sentence[start:cut].strip()
        if speakable(piece):
            yield piece
        start = cut
    rest = sentence[start:].strip()
    if speakable(rest):
        yield rest


def _cut(sentence: str, start: int, max_characters: int) -> int:
    """Where the next piece ends: near an equal share, after a clause, else after a word, else anywhere."""
    left = len(sentence) - start
    share = -(-left // -(-left // max_characters))
    window = sentence[start : start + max_characters]
    for pattern, least in ((_CLAUSE, share // 2), (_BLANK, 1)):
        ends = [found.end() for found in pattern.finditer(window, least)]
        if ends:
            return start + min(ends, key=lambda end: abs(end - share))
    cut = share
    while cut > max(1, share - 8) and unicodedata.category(window[cut - 1]).startswith("M"):
        cut -= 1  # a letter keeps its marks
    return start + cut
