"""What a folder with a model must hold, and how its files are read.

The frontend checks a folder before it starts a host, and the host before it loads. Both do it here, so that
they agree. A file of a model may be anything: a FIFO or a device would block its reader for ever.
"""

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

MAX_TEMPLATE_BYTES = 1024**2  # of a chat template; those of real models have up to 100 kB
MAX_DOCUMENT_BYTES = 16 * 1024**2  # of a JSON file that we parse ourselves

_PARTS = {  # task → the models in the folder, each a pair of files
    "text": ("model", "tokenizer", "detokenizer"),
    "embeddings": ("model", "tokenizer"),
    "rerank": ("model", "tokenizer"),
    "transcription": ("encoder_model", "decoder_model", "tokenizer", "detokenizer"),
    "vision": (
        "language_model",
        "text_embeddings_model",
        "vision_embeddings_model",
        "tokenizer",
        "detokenizer",
    ),
    "speech": ("model",),
}
_DOCUMENTS = {  # task → JSON files without which native code assumes another model's values
    "transcription": ("config.json", "generation_config.json", "preprocessor_config.json"),
}
_PROCESSOR_FILES = {"preprocessor_config.json", "processor_config.json"}  # of a vision model, either
_PYTORCH_WEIGHTS = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}
_TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}  # of Optimum, any of them
_MAX_BYTES = {".json": 128 * 1024**2, ".jinja": MAX_TEMPLATE_BYTES, ".xml": 512 * 1024**2}
_PART_FILE = re.compile(r"openvino_(\w+)\.xml")
_FILE_SUFFIXES = {*_MAX_BYTES, ".bin", ".txt", ".model", ".safetensors"}
_MAX_FILES = 10_000
FOLDER, REGULAR = "a folder", "a regular file"  # the usual answers of `kind_of`
_KINDS = {
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileFault(Exception):
    """A file that cannot be used. The text names the file and the reason, in one line."""


def parts_of(files: Collection[str], task: str, library: str = "openvino") -> tuple[str, ...]:
    """The OpenVINO models that a folder with `files` must hold for `task`; none for an unknown task.

    Optimum has tokenizers of its own, and converts weights of PyTorch as it loads them.
    """
    parts = _PARTS.get(task, ())
    if task == "vision":  # and whatever else its architecture has
        return tuple(dict.fromkeys([*parts, *_all_parts(files)]))
    if library != "optimum":
        return parts
    return () if "openvino_model.xml" not in files and _PYTORCH_WEIGHTS & set(files) else parts[:1]


def missing_files(files: Collection[str], task: str, library: str = "openvino") -> list[str]:
    """The names that a folder with `files` lacks to serve `task`."""
    parts = parts_of(files, task, library)
    needed = [f"openvino_{part}.{suffix}" for part in parts for suffix in ("xml", "bin")]
    needed += _DOCUMENTS.get(task, ())
    if library == "optimum" and not _TOKENIZER_FILES & set(files):
        needed.append("tokenizer.json")
    if task == "vision":
        needed.append("config.json")
        if not _PROCESSOR_FILES & set(files):  # without it images would be prepared in a wrong way
            needed.append("preprocessor_config.json")
    return [name for name in needed if name not in files]


def _all_parts(files: Collection[str]) -> list[str]:
    return sorted(match[1] for name in files if (match := _PART_FILE.fullmatch(name)))


def list_files(folder: Path) -> set[str]:
    """The names in a folder, without links to nothing. Raises OSError."""
    return {entry.name for entry in islice(folder.iterdir(), _MAX_FILES) if entry.exists()}


def find_faults(folder: Path, names: Collection[str]) -> Iterator[str]:
    """What makes files of a model unusable, in one line for each. Other files may be anything."""
    for name in sorted(name for name in names if Path(name).suffix in _FILE_SUFFIXES):
        try:
            found = (folder / name).stat()
        except OSError as error:
            yield f"cannot read {folder / name}: {error.strerror}"
            continue
        if fault := _fault(found, _MAX_BYTES.get(Path(name).suffix)):
            yield f"{folder / name} {fault}"


def kind_of(path: Path) -> str:
    """What is at a path, in words: "a folder", "a regular file", "a FIFO", …; empty if nothing is there.

    Raises OSError or ValueError for a path that cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing" if path.is_symlink() else ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a loop of links"
        raise
    return REGULAR if stat.S_ISREG(mode) else _kind(mode)


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Never waits for a writer. Raises FileFault."""
    try:
        if fault := _fault(path.stat(), limit):  # before it is opened: that alone does something to a device
            raise FileFault(f"{path} {fault}")
        with open(path, "rb", opener=_open_without_waiting) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise FileFault(f"cannot read {path}: {error.strerror}") from error
    if len(content) > limit:  # it is growing
        raise FileFault(f"{path} {_too_large(len(content), limit)}")
    return content


def read_text(path: Path, limit: int) -> str:
    """The same as text. Raises FileFault for anything but UTF-8, too."""
    try:
        return read_file(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        fault = f"{path} is not valid UTF-8: byte {error.start} is {byte:#04x}; save it as UTF-8"
        raise FileFault(fault) from error


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _fault(found: os.stat_result, limit: int | None) -> str:
    if not stat.S_ISREG(found.st_mode):
        return f"is {_kind(found.st_mode)}; it must be a regular file"
    return _too_large(found.st_size, limit) if limit is not None and found.st_size > limit else ""


def _too_large(size: int, limit: int) -> str:
    return f"has {size} bytes; it must have at most {limit}"
