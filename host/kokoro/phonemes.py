"""Text → the phonemes of Kokoro's vocabulary, by espeak-ng through phonemizer."""

import logging
from typing import Any

from host.errors import LaunchError
from host.kokoro.espeak import EXTRA, find_espeak
from host.kokoro.languages import Language

_TIE = "^"  # between the letters of one sound

# espeak-ng's IPA → Kokoro's own letters, in order. A diphthong or affricate is one letter.
_SHARED = {
    "a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "o^ʊ": "O", "ə^ʊ": "Q", "ɔ^ɪ": "Y",
    "d^ʒ": "ʤ", "t^ʃ": "ʧ", "d^z": "ʣ", "t^s": "ʦ",
}  # fmt: skip
_ENGLISH = {
    "ə^l": "ᵊl", "ʔˌn\u0329": "ʔn", "n\u0329": "ᵊn", "l\u0329": "ᵊl", "m\u0329": "ᵊm", "\u0329": "",
    "ʲ": "", "ɚ": "əɹ", "r": "ɹ", "x": "k", "ç": "k", "ɐ": "ə", "ɬ": "l", "\u0303": "", "ɾ": "T", "ʔ": "t",
}  # fmt: skip
_AMERICAN = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ː": "", "e": "A", "o": "ɔ"}
_BRITISH = {"e^ə": "ɛː", "iə": "ɪə", "e": "A", "o": "ɔ"}
_OTHERS = {"s^s": "S", "-": "", "«": "“", "»": "”"}


class Phonemizer:
    """Phonemes of sentences in several languages. Use it in one thread."""

    def __init__(self) -> None:
        """Raises LaunchError without the extra that installs it."""
        espeak = find_espeak()
        try:
            from phonemizer.backend import EspeakBackend
            from phonemizer.backend.espeak.wrapper import EspeakWrapper
        except ImportError as error:
            raise _missing() from error
        if espeak is None:
            raise _missing()
        EspeakWrapper.set_library(espeak.library)
        EspeakWrapper.set_data_path(espeak.data)
        self._backend = EspeakBackend
        self._by_language: dict[str, Any] = {}

    def phonemes(self, text: str, language: Language) -> str:
        """In Kokoro's letters, which need not all be in its vocabulary. Punctuation is kept."""
        if language.espeak not in self._by_language:
            self._by_language[language.espeak] = self._backend(
                language.espeak,
                preserve_punctuation=True,
                with_stress=True,
                tie=_TIE,
                language_switch="remove-flags",
                logger=logging.getLogger("phonemizer"),
            )
        (line,) = self._by_language[language.espeak].phonemize([text], strip=True)
        return kokoro_letters(line, language)


def kokoro_letters(ipa: str, language: Language) -> str:
    """What espeak-ng writes, in the letters that the model was trained with."""
    tables: tuple[dict[str, str], ...]
    if language.is_english:
        tables = (_SHARED, _ENGLISH, _AMERICAN if language.tag == "en-US" else _BRITISH)
    else:
        tables = (_SHARED, _OTHERS)
    for table in tables:
        for sound, letter in table.items():
            ipa = ipa.replace(sound, letter)
    return ipa.replace(_TIE, "").strip()


def _missing() -> LaunchError:
    return LaunchError(
        f"library = openvino needs phonemizer and espeak-ng to read text; install them with: {EXTRA}, "
        "or set library to genai"
    )
