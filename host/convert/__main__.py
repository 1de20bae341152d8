"""Converts a model's source files to a folder like any from Hugging Face: OpenVINO IR and its JSON files.

python -P -m host.convert SOURCE FOLDER

SOURCE is a GGUF file, a file of packed e5 weights, or a folder with an encoder's files. FOLDER exists and is
empty; the caller renames it if the exit status is 0, and removes it otherwise. This is a process of its own,
because the source is untrusted input to native code.
"""

import sys
from pathlib import Path

from host.convert.errors import ConversionError
from host.model_folder import ModelFolderError
from host.native_errors import summary


def main(arguments: list[str]) -> int:
    """Returns the exit status. If it is not 0, prints one line to stderr."""
    source, folder = map(Path, arguments)
    try:
        _convert(source, folder)
    except (ConversionError, ModelFolderError, OSError, RuntimeError) as error:
        print(f"cannot convert {source.name}: {summary(error)}", file=sys.stderr)
        return 1
    return 0


def _convert(source: Path, folder: Path) -> None:
    """Imports only what the kind of source needs."""
    if source.is_dir():
        from host.convert.encoder import read_encoder_folder, save_encoder

        save_encoder(read_encoder_folder(source), folder)
        return
    from host.convert.e5_pack import is_e5_pack, read_e5_pack

    if is_e5_pack(source):
        from host.convert.encoder import save_encoder

        save_encoder(read_e5_pack(source), folder)
    else:
        from host.convert.gguf_model import convert_gguf

        convert_gguf(source, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
