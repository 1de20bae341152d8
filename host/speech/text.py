"""Text → sentences that are read aloud one by one."""

from host.speech.english import spoken_english
from host.speech.markup import lines_of
from host.speech.splitting import split_sentences
from host.speech.symbols import plain_breaks, without_symbols

MAX_CHARACTERS = 250  # of a sentence, which a model of 510 phonemes takes at once


def sentences(text: str, language: str, max_characters: int = MAX_CHARACTERS) -> list[str]:
    """The sentences of a text, in order; none if there is nothing to say.

    Equal arguments give equal sentences: a host that continues after another counts them. Markdown, HTML and
    emoji are left out, and English numbers, dates, units, abbreviations and addresses are written as words;
    espeak-ng reads those of other languages. `language` is a BCP 47 tag, such as en-US. A sentence of more
    than `max_characters` is cut after clauses, else words, else anywhere. Takes time proportional to the
    length of the text.
    """
    tag = language.lower().replace("_", "-")
    base = tag.partition("-")[0]
    result: list[str] = []
    for shown in lines_of(plain_breaks(text), base):
        line = without_symbols(shown)
        if base == "en":
            line = spoken_english(line, day_first=tag != "en-us")
        result += split_sentences(line, base, max_characters)
    return result
