"""Reads messages from the terminal: line editing, history over sessions, and messages of several lines."""

import contextlib
from pathlib import Path

from frontend.cli.running.slash import NAMES, SETTABLE

_PROMPT = ">>> "
_MORE = "... "
_QUOTES = '"""'
_HISTORY_LINES = 1000


class Editor:
    """Line editing by readline. `history` is the file that keeps what was typed; None keeps nothing."""

    def __init__(self, history: Path | None) -> None:
        import readline  # only where a person types

        self._readline = readline
        self._history = history
        # Python switches it off: without it, a pasted text is sent line by line.
        readline.parse_and_bind("set enable-bracketed-paste on")
        readline.parse_and_bind("tab: complete")
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._complete)
        readline.set_history_length(_HISTORY_LINES)
        if history is not None:
            with contextlib.suppress(OSError):
                readline.read_history_file(history)

    def read(self) -> str:
        """The next message. Raises EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C."""
        first = input(_PROMPT)
        self._save()
        if not first.lstrip().startswith(_QUOTES):
            return first.strip()
        lines = [first.lstrip().removeprefix(_QUOTES)]
        while not lines[-1].rstrip().endswith(_QUOTES):
            lines.append(input(_MORE))
            self._save()
        lines[-1] = lines[-1].rstrip().removesuffix(_QUOTES)
        return "\n".join(lines).strip()

    def _save(self) -> None:
        """Write the history, which only its owner can read. Now: a closed window ends the program at once."""
        if self._history is None:
            return
        with contextlib.suppress(OSError):
            self._history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._history.touch(mode=0o600)
            self._readline.write_history_file(self._history)

    def _complete(self, text: str, state: int) -> str | None:
        found = completions(self._readline.get_line_buffer()[: self._readline.get_endidx()], text)
        return found[state] if state < len(found) else None


def completions(line: str, word: str) -> list[str]:
    """What the last word of a line, `word`, may become."""
    before = line[: len(line) - len(word)].split()
    if not before:
        return [f"/{name} " for name in NAMES if f"/{name}".startswith(word)] if word.startswith("/") else []
    if before == ["/set"]:
        return [f"{name} " for name in SETTABLE if name.startswith(word)]
    if before[0] in ("/file", "/image"):
        return _paths(word)
    return []


def _paths(start: str) -> list[str]:
    folder, _, name = start.rpartition("/")
    try:
        entries = sorted(Path(folder or ("/" if start.startswith("/") else ".")).expanduser().iterdir())
    except (OSError, RuntimeError):
        return []
    prefix = start[: len(start) - len(name)]
    return [prefix + path.name + "/" * path.is_dir() for path in entries if path.name.startswith(name)]
