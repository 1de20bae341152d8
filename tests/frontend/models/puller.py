"""A process that prepares a model in a store: `python -m tests.frontend.models.puller STORE LOG`.

Its conversion appends a line to LOG/built, and ends once LOG/go exists, so that a test can hold it there.
"""

import sys
from pathlib import Path

from frontend.models.manifest import Recipe
from frontend.models.reporter import Reporter
from frontend.models.store import Store
from tests.e2e.serving import wait_for
from tests.frontend.models.tiny import GGUF, convert, sha256

RECIPE = Recipe("catalogue", "tiny", sha256(GGUF), {"openvino": "1"}, {"temperature": 0.2})


class Printer:
    """A Reporter that prints its steps."""

    def step(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


def obtain(scratch: Path) -> Path:
    gguf = scratch / "tiny.gguf"
    gguf.write_bytes(GGUF)
    return gguf


def main(root: Path, log: Path) -> None:
    def slow(gguf: Path, folder: Path, _: Reporter) -> None:
        convert(gguf, folder)
        with (log / "built").open("a") as file:
            file.write("built\n")
        wait_for((log / "go").exists, "the test lets the conversion end")

    print(Store(root, Printer(), slow).ensure(RECIPE, "tiny", obtain))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
