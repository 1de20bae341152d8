"""The voices in a model's folder, and blends of them."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from host.engines.base import RequestRefused, invalid
from host.kokoro.espeak import EXTRA
from host.kokoro.languages import LANGUAGES, UNSERVED, Language
from host.model_folder import ModelFolderError
from ipc.errors import ErrorCode
from ipc.messages import Voice, VoiceWeight
from ipc.model_files import FileFault, read_file
from ipc.voices import MAX_BLENDED, MAX_STYLES, STYLE_BYTES, VOICES_FOLDER, is_voice_name

Styles = npt.NDArray[np.float32]  # [lengths, 1, 256]: one style for each number of phonemes

_CACHED = 64  # blends, of half a megabyte each
_NAMED = 60  # voices, in an error


class Voices:
    """Reads voices when they are first asked for. May be used from one thread."""

    def __init__(self, folder: Path, tags: frozenset[str]) -> None:
        """`tags` are the languages that the engine speaks. Raises ModelFolderError if no voice has one."""
        self._folder = folder / VOICES_FOLDER
        found = self._folder.glob("*.bin") if self._folder.is_dir() else []
        self._names = sorted(file.stem for file in found if is_voice_name(file.stem))
        self.served = [
            Voice(name, language.tag)
            for name in self._names
            if (language := LANGUAGES.get(name[0])) is not None and language.tag in tags
        ]
        if not self.served:
            raise ModelFolderError(f"{self._folder} has no voices (NAME.bin) of a language that is served")
        self._tags = tags
        self._blends: OrderedDict[tuple[tuple[str, float], ...], Styles] = OrderedDict()

    def language(self, blend: Sequence[VoiceWeight]) -> Language:
        """That of the first voice. Raises RequestRefused for voices that cannot be served."""
        if not 1 <= len(blend) <= MAX_BLENDED:
            raise invalid(f"voice must name between 1 and {MAX_BLENDED} voices, not {len(blend)}", "voice")
        for part in blend:
            self._check(part)
        return LANGUAGES[blend[0].name[0]]

    def styles(self, blend: Sequence[VoiceWeight]) -> Styles:
        """The weighted sum of voices that `language` accepted. Raises RequestRefused for damaged files."""
        total = sum(part.weight for part in blend)
        key = tuple(sorted((part.name, part.weight / total) for part in blend))
        if key in self._blends:
            self._blends.move_to_end(key)
            return self._blends[key]
        voices = [self._read(name) for name, _ in key]
        lengths = min(len(voice) for voice in voices)
        mixed = np.zeros((lengths, 1, STYLE_BYTES // 4), np.float32)
        for voice, (_, weight) in zip(voices, key, strict=True):
            mixed += np.float32(weight) * voice[:lengths]
        self._blends[key] = mixed
        if len(self._blends) > _CACHED:
            self._blends.popitem(last=False)
        return mixed

    def _check(self, part: VoiceWeight) -> None:
        name = part.name
        if not 0 < part.weight < float("inf"):
            raise invalid(f"voice: the weight of {name} must be above 0", "voice")
        if any(voice.name == name for voice in self.served):
            return
        if is_voice_name(name) and name[0] in UNSERVED:
            language, libraries = UNSERVED[name[0]]
            raise invalid(
                f"the voice {name} speaks {language}, which is not served: it would need {libraries}", "voice"
            )
        if name in self._names and (unserved := LANGUAGES.get(name[0])) is not None:
            raise invalid(
                f"the voice {name} speaks {unserved.tag}, which needs espeak-ng; install it with: {EXTRA}",
                "voice",
            )
        known = [voice.name for voice in self.served]
        listed = ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")
        raise invalid(f"the model has no voice {name[:_NAMED]!r}; use one of {listed}", "voice")

    def _read(self, name: str) -> Styles:
        path = self._folder / f"{name}.bin"
        try:
            content = read_file(path, MAX_STYLES * STYLE_BYTES)
        except FileFault as fault:
            raise RequestRefused(
                ErrorCode.ENGINE_FAILED, f"the voice {name} cannot be read", "voice"
            ) from fault
        if not content or len(content) % STYLE_BYTES:
            raise RequestRefused(ErrorCode.ENGINE_FAILED, f"the voice {name} is damaged", "voice")
        return np.frombuffer(content, "<f4").reshape(-1, 1, STYLE_BYTES // 4)
