"""A catalogue entry with a file of a few bytes, the wheel that holds it, and a converter that copies."""

import hashlib
import zipfile
from pathlib import Path

from frontend.models.catalogue import Entry, UrlSource, WheelSource

GGUF = b"GGUF" + bytes(range(256)) * 40
FILE = "tiny.Q4_1.gguf"
MEMBER = f"tiny_model/{FILE}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(folder: Path, content: bytes = GGUF) -> WheelSource:
    """Write a wheel that holds `content` into `folder`. Returns the source that finds it there."""
    info = "tiny_model-1.0.dist-info"
    files = {
        MEMBER: content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        b"Requires-Dist: a-package-that-nobody-should-fetch\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return WheelSource("tiny-model", "1.0", sha256(wheel.read_bytes()), MEMBER)


def entry(*sources: WheelSource | UrlSource, content: bytes = GGUF) -> Entry:
    return Entry(
        description="a test model",
        licence="none",
        file=FILE,
        bytes=len(content),
        sha256=sha256(content),
        sources=list(sources),
        generation={"temperature": 0.2, "do_sample": True},
    )


def convert(gguf: Path, folder: Path) -> None:
    """Stands in for the real conversion, which `smollm2_ir` exercises."""
    (folder / "openvino_model.bin").write_bytes(gguf.read_bytes())
    (folder / "generation_config.json").write_text('{"eos_token_id": [2], "temperature": 1.0}')


class Recorder:
    """A Reporter that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def progress(self, done: int, total: int | None) -> None:
        self.bytes.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)
