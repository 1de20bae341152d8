"""The languages of Kokoro's voices: the first letter of a voice's name stands for one."""

from typing import NamedTuple


class Language(NamedTuple):
    tag: str  # BCP 47
    espeak: str  # espeak-ng's name of it, and GenAI's

    @property
    def is_english(self) -> bool:
        return self.espeak.startswith("en")


LANGUAGES = {
    "a": Language("en-US", "en-us"),
    "b": Language("en-GB", "en-gb"),
    "e": Language("es", "es"),
    "f": Language("fr-FR", "fr-fr"),
    "h": Language("hi", "hi"),
    "i": Language("it", "it"),
    "p": Language("pt-BR", "pt-br"),
}

# Voices whose languages need libraries that no engine here has, and those libraries.
UNSERVED = {
    "j": ("Japanese", "pyopenjtalk and misaki[ja]"),
    "z": ("Chinese", "jieba, pypinyin and misaki[zh]"),
}
