"""Kokoro by OpenVINO GenAI's Text2SpeechPipeline, which has dictionaries of English."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from host.kokoro.english import readable_english
from host.kokoro.espeak import find_espeak, use_in_genai
from host.kokoro.languages import LANGUAGES, Language
from host.kokoro.speaker import Unreadable
from host.kokoro.voices import Styles
from host.model_folder import ModelFolderError
from host.speech.samples import Samples
from ipc.voices import LEXICON_FOLDER, LEXICONS


class GenAiSpeaker:
    """Implements host.kokoro.speaker.Speaker.

    English words that are not in the dictionaries are read by espeak-ng where it is installed, and spelled
    otherwise. The other languages need espeak-ng.
    """

    def __init__(self, folder: Path, device: str, properties: dict[str, str]) -> None:
        """Raises RuntimeError, and ModelFolderError without dictionaries."""
        missing = [name for name in LEXICONS if not (folder / LEXICON_FOLDER / name).is_file()]
        if missing:
            raise ModelFolderError(
                f"{folder / LEXICON_FOLDER} lacks {', '.join(missing)}; copy them from misaki's data folder"
            )
        espeak = find_espeak()
        if espeak is not None:
            use_in_genai(espeak)
        self._phonemizer = _phonemizer() if espeak is not None else None
        self.languages = frozenset(
            language.tag for language in LANGUAGES.values() if espeak is not None or language.is_english
        )
        self._pipeline = genai.Text2SpeechPipeline(folder, device, **properties)
        self._spelling = TemporaryDirectory(prefix="nacelle-spelling-") if espeak is None else None
        self._spellers: dict[str, str] = {}
        if self._spelling is not None:
            self._spellers = _write_spellers(folder, Path(self._spelling.name))

    def say(self, text: str, language: Language, styles: Styles, speed: float) -> Samples:
        readable = self._readable(text, language)
        options: dict[str, Any] = {"language": language.espeak, "speed": speed}
        if language.tag in self._spellers:
            options["phonemize_fallback_model_dir"] = self._spellers[language.tag]
        results = self._pipeline.generate(readable, ov.Tensor(styles), **options)
        samples = np.array(results.speeches[0].data, np.float32).ravel()
        if not len(samples):
            raise Unreadable(f"no word of {text[:80]!r} can be read in {language.tag}")
        return samples

    def _readable(self, text: str, language: Language) -> str:
        if not language.is_english:
            return text
        phonemizer = self._phonemizer
        if phonemizer is None:
            return readable_english(text, None)
        return readable_english(text, lambda word: phonemizer.phonemes(word, language))


def _phonemizer() -> Any:
    """For words in other scripts; None where espeak-ng is installed without phonemizer."""
    from host.errors import LaunchError
    from host.kokoro.phonemes import Phonemizer

    try:
        return Phonemizer()
    except LaunchError:
        return None


def _write_spellers(folder: Path, target: Path) -> dict[str, str]:
    from host.kokoro.spelling import write_speller

    paths = {}
    for tag, prefix in (("en-US", "us"), ("en-GB", "gb")):
        paths[tag] = str(target / prefix)
        write_speller(folder / LEXICON_FOLDER / f"{prefix}_gold.json", target / prefix)
    return paths
