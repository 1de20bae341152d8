"""Converts Kokoro, a model that speaks: an ONNX file, its vocabulary, its voices and GenAI's lexicons.

kokoro.onnx                                    the model
vocab.json                                     {"vocab": {phoneme: token id}}
voices/NAME.bin                                f32 [lengths, 1, 256]: a style for each number of phonemes
data/{us,gb}_{gold,silver}.json                English words → phonemes
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.saving import check_room, check_saved
from ipc.voices import LEXICON_FOLDER, LEXICONS, MAX_STYLES, STYLE_BYTES, VOICES_FOLDER, is_voice_name

ONNX, VOCABULARY = "kokoro.onnx", "vocab.json"
_MAX_ONNX_BYTES = 1024**3
_MAX_JSON_BYTES = 16 * 1024**2
_MAX_VOICES = 1000
_CONTEXT = 512  # tokens, with one at each end
_MAX_TOKEN_ID = 177  # of the model's table of embeddings


class _Vocabulary(msgspec.Struct):
    vocab: dict[str, int]


def is_kokoro_folder(folder: Path) -> bool:
    return (folder / ONNX).is_file()


def convert_kokoro(source: Path, folder: Path) -> None:
    """Write a folder that GenAI's Text2SpeechPipeline loads: IR with weights of 16 bits.

    Raises ConversionError, OSError.
    """
    vocab = read_vocabulary(source / VOCABULARY)
    voices = sorted(find_voices(source / VOICES_FOLDER))
    for voice in voices:
        check_voice(voice)
    lexicons = {name: read_lexicon(source / LEXICON_FOLDER / name) for name in LEXICONS}
    onnx = source / ONNX
    if onnx.stat().st_size > _MAX_ONNX_BYTES:
        raise ConversionError(f"{ONNX} is larger than {_MAX_ONNX_BYTES // 1024**2} MiB")
    check_room(folder, onnx.stat().st_size * 2 + sum(voice.stat().st_size for voice in voices))
    _save_graph(onnx, folder)
    config = {"model_type": "kokoro", "plbert": {"max_position_embeddings": _CONTEXT}, "vocab": vocab}
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    (folder / VOICES_FOLDER).mkdir()
    for voice in voices:
        shutil.copyfile(voice, folder / VOICES_FOLDER / voice.name)
    (folder / LEXICON_FOLDER).mkdir()
    for name, content in lexicons.items():
        (folder / LEXICON_FOLDER / name).write_bytes(content)
    check_saved(folder, "speech")


def _save_graph(onnx: Path, folder: Path) -> None:
    import openvino

    from host.convert.kokoro_graph import read_graph

    openvino.save_model(read_graph(onnx), folder / "openvino_model.xml", compress_to_fp16=True)


def read_vocabulary(path: Path) -> dict[str, int]:
    """The token id of each phoneme. Raises ConversionError."""
    try:
        vocab = msgspec.json.decode(_read(path), type=_Vocabulary).vocab
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionError(f"{path.name}: {error}", DOWNLOAD_AGAIN) from error
    wrong = [
        phoneme for phoneme, token in vocab.items() if not 0 < token <= _MAX_TOKEN_ID or len(phoneme) != 1
    ]
    if wrong or not vocab:
        raise ConversionError(f"{path.name}: no vocabulary of Kokoro: {wrong[:1] or 'empty'}", DOWNLOAD_AGAIN)
    return vocab


def find_voices(folder: Path) -> Iterator[Path]:
    """The files of voices, the names of which begin with the letter of their language.

    Raises ConversionError.
    """
    files = list(folder.glob("*.bin")) if folder.is_dir() else []
    if not files or len(files) > _MAX_VOICES:
        raise ConversionError(f"{folder.name} holds {len(files)} voices", DOWNLOAD_AGAIN)
    for file in files:
        if not is_voice_name(file.stem):
            raise ConversionError(f"{file.name} is not the name of a voice", "rename it, such as af_name.bin")
        yield file


def check_voice(path: Path) -> None:
    """Raise ConversionError unless the file holds styles."""
    size = path.stat().st_size
    if size % STYLE_BYTES or not 0 < size <= MAX_STYLES * STYLE_BYTES:
        raise ConversionError(
            f"{path.name} has {size} bytes, not {STYLE_BYTES} for each style", DOWNLOAD_AGAIN
        )
    if not np.isfinite(np.fromfile(path, "<f4")).all():
        raise ConversionError(f"{path.name} holds numbers that are not finite", DOWNLOAD_AGAIN)


def read_lexicon(path: Path) -> bytes:
    """A dictionary, as it is in the file. Raises ConversionError."""
    content = _read(path)
    try:
        msgspec.json.decode(content, type=dict[str, str | dict[str, str | None]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionError(f"{path.name}: {error}", DOWNLOAD_AGAIN) from error
    return content


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ConversionError(f"{path.name} is missing", DOWNLOAD_AGAIN)
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise ConversionError(f"{path.name} is larger than {_MAX_JSON_BYTES // 1024**2} MiB")
    return path.read_bytes()
