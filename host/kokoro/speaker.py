"""What the speech engine asks of a library that computes Kokoro."""

from typing import Protocol

from host.kokoro.languages import Language
from host.kokoro.voices import Styles
from host.speech.samples import Samples

SAMPLE_RATE = 24_000  # of Kokoro, in samples per second
CONTEXT = 510  # phonemes that it takes at once


class Unreadable(Exception):
    """A sentence of which the library knows no phoneme. The text names it, for the client."""


class Speaker(Protocol):
    """A loaded model. `say` is called in one thread at a time and releases the GIL."""

    languages: frozenset[str]  # BCP 47 tags of those it speaks

    def say(self, text: str, language: Language, styles: Styles, speed: float) -> Samples:
        """One part of a sentence, of at most CONTEXT phonemes. Raises Unreadable, RuntimeError."""
