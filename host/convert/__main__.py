"""Converts a model's source files to a folder like any from Hugging Face: OpenVINO IR and its JSON files.

python -P -m host.convert SOURCE FOLDER [--lifeline]
python -P -m host.convert --check SOURCE

SOURCE is a GGUF file, a file of packed e5 weights, or a folder with an encoder's files. FOLDER exists and is
empty; the caller renames it if the exit status is 0, and removes it otherwise. This is a process of its own,
because the source is untrusted input to native code. With --lifeline, the conversion stops and FOLDER is
removed once stdin ends. --check only looks at the header of a GGUF file, which takes a fraction of a second.

A failure is one line on stderr, with the cause and a remedy. Lines on stdout that begin with NOTE are for the
user, too.
"""

import sys
from functools import partial
from pathlib import Path

from host.convert.errors import EXPORT, ConversionError
from host.convert.guard import Crash, run_guarded
from host.convert.saving import check_room, disk_full, is_disk_full
from host.model_folder import ModelFolderError
from host.native_errors import summary
from ipc.conversion import FAILURE, NOTE

_NAME_SHOWN = 48  # characters
_LIFELINE, _CHECK = "--lifeline", "--check"


def main(arguments: list[str]) -> int:
    """Convert in this process, or check. Returns the exit status. A failure is a line on stderr."""
    source, *folder = _paths(arguments)
    return _reported(source, partial(_convert, source, *folder) if folder else partial(_check, source))


def guarded(arguments: list[str]) -> int:
    """The same, but convert in a child process, whose death is reported like other failures."""
    source, *folder = _paths(arguments)
    if not folder:
        return main(arguments)
    lifeline = sys.stdin.fileno() if _LIFELINE in arguments else None
    try:
        return run_guarded(partial(main, arguments), _size(source), folder[0], lifeline)
    except Crash as error:
        return _fail(source, str(error))


def _paths(arguments: list[str]) -> list[Path]:
    return [Path(text) for text in arguments if text not in (_CHECK, _LIFELINE)]


def _reported(source: Path, work: partial[None]) -> int:
    try:
        work()
    except Exception as error:  # native code, and libraries that read the source, raise many kinds
        return _fail(source, _explain(error))
    return 0


def _explain(error: Exception) -> str:
    """One line."""
    if isinstance(error, ConversionError | ModelFolderError):
        return summary(error)
    if is_disk_full(error):
        return str(disk_full())
    if isinstance(error, MemoryError):
        return "the machine has too little memory for it; free some and try again"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
    return f"{kind}{summary(error)}; {EXPORT}"


def _fail(source: Path, text: str) -> int:
    name = source.name if len(source.name) <= _NAME_SHOWN else f"{source.name[: _NAME_SHOWN - 3]}..."
    line = f"{FAILURE}{name}: {text}"  # parts of it may be of the source's making
    print("".join(character if character.isprintable() else "?" for character in line), file=sys.stderr)
    return 1


def _size(source: Path) -> int:
    """In bytes; 0 if it cannot be read, which the conversion reports."""
    try:
        files = [path for path in source.iterdir() if path.is_file()] if source.is_dir() else [source]
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0


def _check(source: Path) -> None:
    from host.convert.gguf_check import check_gguf

    check_gguf(source)


def _note(text: str) -> None:
    print(f"{NOTE}{text}", flush=True)


def _convert(source: Path, folder: Path) -> None:
    """Imports only what the kind of source needs."""
    if source.is_dir():
        from host.convert.kokoro import convert_kokoro, is_kokoro_folder
        from host.convert.whisper import convert_whisper, is_whisper_folder

        if is_kokoro_folder(source):
            convert_kokoro(source, folder)
            return
        if is_whisper_folder(source):
            convert_whisper(source, folder)
            return
        from host.convert.encoder import WEIGHTS, read_encoder_folder, save_encoder

        encoder = read_encoder_folder(source)
        check_room(folder, (source / WEIGHTS).stat().st_size // 2)  # the IR has 16 bits for 16 or 32
        save_encoder(encoder, folder)
        return
    from host.convert.e5_pack import is_e5_pack, read_e5_pack

    if is_e5_pack(source):
        from host.convert.encoder import save_encoder

        encoder = read_e5_pack(source)
        check_room(folder, source.stat().st_size * 3)  # the IR has 16 bits for 4
        save_encoder(encoder, folder)
    else:
        from host.convert.gguf_model import convert_gguf

        convert_gguf(source, folder, _note)


if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:]))
