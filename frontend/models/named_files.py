"""Looks at the files and folders that settings name: what is there may be anything, or nothing at all."""

from pathlib import Path

from frontend.config import ConfigError
from frontend.config_values import expanded
from frontend.models.options import adapter_of
from frontend.shortened import quoted, shown_path
from ipc.messages import Adapter
from ipc.model_files import MAX_TEMPLATE_BYTES, REGULAR, FileFault, kind_of, read_text


def looked_at(path: Path) -> str:
    """What is at a path, in the words of `kind_of`; empty for nothing.

    Raises FileFault for a path that cannot be looked at: too long, or in a folder that is not ours to read.
    """
    try:
        return kind_of(path)
    except OSError as error:
        raise FileFault(f"cannot read {shown_path(path)}: {error.strerror}") from error
    except ValueError as error:
        raise FileFault(f"cannot read {shown_path(path)!r}: {error}") from error


def read_adapter(model: str, name: str, text: str) -> Adapter:
    """The adapter of `FILE[:ALPHA]`, with an absolute path. Raises ConfigError."""
    adapter = adapter_of(text)
    file = expanded(adapter.path, "adapters").absolute()
    if fault := _fault(file):
        path, _, alpha = str(file).rpartition(":")
        if path and not _fault(Path(path)):
            fault = f"ALPHA must be a number, not {quoted(alpha)}"
        raise ConfigError(f"adapter {name!r} of {model!r}: {fault}; correct --adapter")
    return Adapter(str(file), adapter.alpha)


def read_template(path: str) -> str:
    """The text of a chat template. Raises ConfigError."""
    file = expanded(path, "chat_template")
    try:
        if fault := _fault(file):
            raise FileFault(fault)
        text = read_text(file, MAX_TEMPLATE_BYTES).removeprefix("\ufeff")
    except FileFault as error:
        raise ConfigError(f"the chat template cannot be used: {error}; correct --chat-template") from error
    if not text.strip():
        raise ConfigError(f"the chat template {shown_path(path)} is empty; correct --chat-template")
    return text


def _fault(file: Path) -> str:
    """Why a setting cannot name this file; empty if it is a regular one."""
    try:
        kind = looked_at(file)
    except FileFault as error:
        return str(error)
    if not kind:
        return f"no file {shown_path(file)}"
    return "" if kind == REGULAR else f"{shown_path(file)} is {kind}; it must be a regular file"
