"""Which files of a repository or folder make a model, and what must be done with them. Pure."""

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from frontend.models.errors import ModelError
from ipc.conversion import HUGGING_FACE_FILES, HUGGING_FACE_TYPES

# ir: as it is; gguf, encoder: our converter; export: optimum-intel.
Kind = Literal["ir", "gguf", "encoder", "export"]

_DEFAULT_QUANTIZATION = "Q4_K_M"
_MIN_BITS = 4
_QUANTIZATION = re.compile(
    r"[-._]((?:UD-)?(?:I?Q\d[A-Z0-9_]*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|FP?16|FP?32))\.gguf\Z", re.IGNORECASE
)
_PART_OF_SEVERAL = re.compile(r"-\d{5}-of-\d{5}\.gguf\Z")
_NO_MODEL = ("mmproj", "imatrix", "ggml-vocab")
_MAX_NAMED = 12

_MODEL_XML = "openvino_model.xml"
_IR_MARKS = (_MODEL_XML, "openvino_language_model.xml", "openvino_encoder_model.xml")
_BESIDE = ("*.json", "*.txt", "*.jinja", "1_Pooling/*.json", "tokenizer.model", "*.spm")
_PAPERS = ("LICEN[CS]E*", "README*", "NOTICE*", "COPYING*", "USE_POLICY*")
_IR_FILES = ("openvino_*.xml", "openvino_*.bin", "silero_vad.onnx", "voices/*.bin", "data/*.json")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_OLD_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")
_OUR_OWN = "manifest.json"  # of our store


class Wish(msgspec.Struct, frozen=True):
    """What the user asks for, beyond the repository."""

    choice: str = ""  # a file, or a quantization
    pattern: str = ""  # of file names
    weight_format: str = ""


class Choice(msgspec.Struct, frozen=True):
    """`main` is the GGUF file, or empty if the whole folder makes the model."""

    kind: Kind
    files: list[str]
    main: str = ""
    task: str = ""  # of an export, in Optimum's words

    @property
    def quantization(self) -> str:
        return quantization_of(self.main)


def choose(sizes: Mapping[str, int], config: Mapping[str, Any], wish: Wish, title: str) -> Choice:
    """`sizes` has all files; `config` is the content of config.json, or empty.

    Raises ModelError if they hold no model that can be served, or not the one that is wished for.
    """
    names = [name for name in sizes if _is_safe(name)]
    if wish.pattern:
        names = [name for name in names if fnmatch.fnmatch(name, wish.pattern)]
        if not names:
            raise ModelError(f"{title} has no file that matches --file {wish.pattern}")
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    is_ir = any(mark in names for mark in _IR_MARKS)
    if wish.choice or (ggufs and not is_ir and not _matching(names, _WEIGHTS)) or (wish.pattern and ggufs):
        _refuse_format(wish, f"{title} has GGUF files, which keep their weights")
        main = _choose_gguf({name: sizes[name] for name in ggufs}, wish.choice, title)
        return Choice("gguf", [main, *_papers(sizes)], main)
    if is_ir:
        _refuse_format(wish, f"{title} has OpenVINO IR already, which keeps its weights")
        beside = sizes if wish.pattern else names
        return Choice("ir", [*_matching(names, _IR_FILES), *_matching(beside, _BESIDE), *_papers(sizes)])
    return _convertible(names, config, wish, title)


def _convertible(names: list[str], config: Mapping[str, Any], wish: Wish, title: str) -> Choice:
    papers = _papers(names)
    if not wish.weight_format and is_convertible(names, config):
        return Choice("encoder", ["model.safetensors", *_matching(names, _BESIDE), *papers])
    weights = _matching(names, _WEIGHTS) or _matching(names, _OLD_WEIGHTS)
    if not weights or not config:
        raise ModelError(
            f"{title} holds no model that can be served: no OpenVINO IR, no GGUF file, no safetensors with a "
            "config.json"
        )
    beside = _matching(names, (*_BESIDE, "*.model"))
    return Choice("export", [*weights, *beside, *papers])


def is_convertible(names: Collection[str], config: Mapping[str, Any]) -> bool:
    """Whether our own converter can make IR of these files."""
    return set(names) >= HUGGING_FACE_FILES and config.get("model_type") in HUGGING_FACE_TYPES


def _is_safe(name: str) -> bool:
    """A relative path that stays in its folder."""
    path = PurePosixPath(name)
    parts = path.parts
    return not path.is_absolute() and name != _OUR_OWN and not any(part.startswith(".") for part in parts)


def _refuse_format(wish: Wish, why: str) -> None:
    if wish.weight_format:
        raise ModelError(f"{why}; leave --weight-format out")


def _matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that match one of the patterns. A pattern without a slash is for the top folder."""
    found = []
    for name in names:
        depth = name.count("/")
        fits = any(pattern.count("/") == depth and fnmatch.fnmatch(name, pattern) for pattern in patterns)
        if fits and _is_safe(name):
            found.append(name)
    return found


def _papers(names: Iterable[str]) -> list[str]:
    return _matching(names, _PAPERS)


def quantization_of(name: str) -> str:
    """That of a GGUF file by its name, such as Q4_K_M; empty if it has none."""
    match = _QUANTIZATION.search(name)
    return match[1].upper() if match else ""


def _bits(quantization: str) -> int:
    match = re.search(r"\d+", quantization)
    return int(match[0]) if match else 0


def _choose_gguf(sizes: Mapping[str, int], choice: str, title: str) -> str:
    whole = {
        name: size
        for name, size in sizes.items()
        if not PurePosixPath(name).name.lower().startswith(_NO_MODEL) and not _PART_OF_SEVERAL.search(name)
    }
    if choice:
        return _named(whole, choice, sizes, title)
    if not whole:
        parts = "only GGUF files in several parts, which cannot be served" if sizes else "no GGUF file"
        raise ModelError(f"{title} has {parts}; choose another repository")
    by_quantization = {quantization_of(name): name for name in sorted(whole, reverse=True)}
    if _DEFAULT_QUANTIZATION in by_quantization:
        return by_quantization[_DEFAULT_QUANTIZATION]
    enough = [name for name in whole if _bits(quantization_of(name)) >= _MIN_BITS]
    return min(enough or whole, key=lambda name: (whole[name], name))


def _named(whole: Mapping[str, int], choice: str, sizes: Mapping[str, int], title: str) -> str:
    if choice in sizes:
        if choice not in whole:
            raise ModelError(f"{choice} is one part of a model, which cannot be served; choose another file")
        return choice
    wanted = choice.upper()
    exact = [name for name in whole if quantization_of(name) == wanted]
    ending = [name for name in whole if PurePosixPath(name).name.upper() == wanted]
    if found := exact or ending:
        return min(found)
    known = sorted({quantization_of(name) or name for name in whole})
    listed = ", ".join(known[:_MAX_NAMED]) + (", …" if len(known) > _MAX_NAMED else "")
    raise ModelError(f"{title} has no {choice}" + (f"; it has {listed}" if known else " and no GGUF file"))
