"""Kokoro by OpenVINO alone: phonemes by espeak-ng, token ids by the model's vocabulary."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from host.kokoro.languages import LANGUAGES, Language
from host.kokoro.phonemes import Phonemizer
from host.kokoro.speaker import CONTEXT, Unreadable
from host.kokoro.voices import Styles
from host.model_folder import ModelFolderError, read_json
from host.speech.samples import Samples

_INPUTS = {"input_ids", "ref_s", "speed"}
_EDGE = 0  # the token id before and after each text


class NativeSpeaker:
    """Implements host.kokoro.speaker.Speaker."""

    languages = frozenset(language.tag for language in LANGUAGES.values())

    def __init__(self, folder: Path, device: str, properties: dict[str, str]) -> None:
        """Raises RuntimeError, ModelFolderError, and LaunchError without espeak-ng."""
        self._vocab = _vocabulary(folder / "config.json")
        self._phonemizer = Phonemizer()
        compiled = ov.Core().compile_model(folder / "openvino_model.xml", device, properties)
        names = {port.any_name for port in compiled.inputs}
        if names != _INPUTS:
            raise ModelFolderError(
                f"{folder} is not a Kokoro model: its inputs are {', '.join(sorted(names))}"
            )
        self._request = compiled.create_infer_request()
        self._waveform = compiled.outputs[0]

    def say(self, text: str, language: Language, styles: Styles, speed: float) -> Samples:
        phonemes = "".join(
            letter for letter in self._phonemizer.phonemes(text, language) if letter in self._vocab
        )
        if not any(letter.isalpha() for letter in phonemes):
            raise Unreadable(f"no word of {text[:80]!r} can be read in {language.tag}")
        return np.concatenate([self._spoken(part, styles, speed) for part in parts_of(phonemes)])

    def _spoken(self, phonemes: str, styles: Styles, speed: float) -> Samples:
        ids = [_EDGE, *(self._vocab[letter] for letter in phonemes), _EDGE]
        style = styles[min(len(phonemes), len(styles)) - 1]
        inputs = {
            "input_ids": np.array([ids], np.int64),
            "ref_s": np.ascontiguousarray(style),
            "speed": np.array([speed], np.float32),
        }
        return np.array(self._request.infer(inputs)[self._waveform], np.float32).ravel()


def parts_of(phonemes: str) -> list[str]:
    """At most CONTEXT phonemes in each part, cut between words where there are some."""
    parts = []
    while len(phonemes) > CONTEXT:
        cut = phonemes.rfind(" ", 1, CONTEXT + 1)
        cut = cut if cut > 0 else CONTEXT
        parts.append(phonemes[:cut])
        phonemes = phonemes[cut:].lstrip()
    return [part for part in (*parts, phonemes) if part]


def _vocabulary(path: Path) -> dict[str, int]:
    vocab: Any = read_json(path).get("vocab")
    if (
        not isinstance(vocab, dict)
        or not vocab
        or not all(isinstance(token, int) for token in vocab.values())
    ):
        raise ModelFolderError(f"{path} has no vocab: an object of phonemes and their token ids")
    return vocab
