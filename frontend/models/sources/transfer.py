"""Fetches one file to the disk, whole and verified or not at all. A killed or broken transfer is resumed.

FILE            the file, which has been verified
FILE.part       its first bytes
FILE.part.json  what they are the beginning of; it stays beside a file of which no checksum is known
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from frontend.models.digests import Readable
from frontend.models.errors import SourceError
from frontend.models.sources.retries import Patience, Transient
from frontend.models.sources.room import check_room

_CHUNK_BYTES = 1024 * 1024
_PART = ".part"


class Digest(msgspec.Struct, frozen=True, array_like=True):
    """A checksum that a source states: sha256, md5, or git (of a blob, which depends on its size)."""

    kind: str
    value: str  # hexadecimal


class Expected(msgspec.Struct, frozen=True):
    """What is known of a file before it is fetched."""

    size: int | None = None  # bytes
    digest: Digest | None = None
    identity: str = ""  # distinguishes versions of the file, such as a commit; empty: unknown


class Opened(NamedTuple):
    """The answer of a source: the bytes from `start` on."""

    stream: Readable
    start: int
    total: int | None  # size of the whole file, if it is stated
    validator: str  # changes with the file, such as an ETag; empty: the file cannot be recognized again
    digest: Digest | None = None


# From the number of bytes that are there, and what they were validated by. Raises Transient and SourceError.
OnBytes = Callable[[int, int | None], None]  # how many are there, and the file's size if it is known
Open = Callable[[int, str], AbstractContextManager[Opened]]


class _Part(msgspec.Struct, frozen=True):
    identity: str
    validator: str


class Received(NamedTuple):
    """A file that is there. `validator` is empty if the source was not asked."""

    sha256: str
    validator: str


class Hashes:
    """The SHA-256 of what passes, and the digest that is expected."""

    def __init__(self, expected: Digest | None, size: int | None) -> None:
        self._expected = expected
        self._sha256 = hashlib.sha256()
        self._other: Any = None
        if expected and expected.kind == "md5":
            self._other = hashlib.md5(usedforsecurity=False)
        elif expected and expected.kind == "git" and size is not None:
            self._other = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        if self._other:
            self._other.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def complaint(self, name: str) -> str:
        """What is wrong with the content; empty if nothing is known to be."""
        if self._expected is None:
            return ""
        kind, expected = self._expected.kind, self._expected.value
        found = self.sha256 if kind == "sha256" else self._other.hexdigest() if self._other else expected
        if found == expected:
            return ""
        shown = {"sha256": "SHA-256", "md5": "MD5", "git": "git hash"}.get(kind, kind)
        return f"the {shown} of {name} is {found}, not the expected {expected}"


def transfer(
    open_at: Open,
    target: Path,
    expected: Expected,
    on_bytes: OnBytes,
    patience: Patience | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    name: str = "",
) -> Received:
    """Fetch a file unless `target` exists. Errors call it `name`, by default that of `target`.

    Raises SourceError if the source does not have it, and OSError if it cannot be written.
    """
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + _PART)
    if target.exists():
        if not expected.digest and not expected.identity:
            target.rename(part)  # the source may have another one by now: it is asked for the rest
        elif digest := _hash_file(target, expected, on_bytes):
            return Received(digest, "")
        else:
            on_note(f"{name or target.name} is damaged; fetching it again")
            target.unlink()
    while True:
        try:
            received = _attempt(open_at, part, name or target.name, expected, on_bytes)
        except Transient as error:
            on_note(patience.wait(error, part.stat().st_size if part.exists() else 0))
        else:
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.rename(target)
            if expected.digest or expected.identity:
                _facts(part).unlink(missing_ok=True)
            return received


def received_bytes(target: Path) -> int:
    """How many bytes of a file are there."""
    with contextlib.suppress(OSError):
        return target.stat().st_size
    with contextlib.suppress(OSError):
        return target.with_name(target.name + _PART).stat().st_size
    return 0


def _facts(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _attempt(open_at: Open, part: Path, name: str, expected: Expected, on_bytes: OnBytes) -> Received:
    known = _known(part, expected)
    with open_at(_size(part) if known else 0, known.validator if known else "") as opened:
        if known and opened.start and not expected.digest and _is_another(known, opened):
            _drop(part)  # the server does not heed If-Range
            raise Transient(f"{name} has changed meanwhile")
        expected = _completed(expected, opened, name)
        if expected.size is not None:
            check_room(part.parent, expected.size - opened.start, name)
        _remember(part, _Part(expected.identity, opened.validator), opened.start)
        hashes = Hashes(expected.digest, expected.size)
        _hash_beginning(part, opened.start, hashes)
        done = _copy(opened, part, hashes, expected.size, on_bytes)
    if expected.size is not None and done < expected.size:  # a cut connection looks like the end
        raise Transient(f"the connection broke after {done} of {expected.size} bytes")
    complaint = hashes.complaint(name)
    if expected.size is not None and done > expected.size:
        complaint = f"{name} has {done} bytes, not the expected {expected.size}"
    if complaint:
        _drop(part)
        # What was resumed may have been the beginning of another file.
        raise Transient(complaint) if opened.start else SourceError(complaint)
    return Received(hashes.sha256, opened.validator or (known.validator if known and opened.start else ""))


def _is_another(known: _Part, opened: Opened) -> bool:
    return bool(known.validator and opened.validator) and known.validator != opened.validator


def _drop(part: Path) -> None:
    part.unlink()
    _facts(part).unlink()


def _known(part: Path, expected: Expected) -> _Part | None:
    """What the bytes that are there begin, if they can be continued."""
    try:
        known = msgspec.json.decode(_facts(part).read_bytes(), type=_Part)
    except (OSError, ValueError, RecursionError):
        return None
    if known.identity != expected.identity:
        return None
    return known if known.validator or expected.digest or expected.identity else None


def _completed(expected: Expected, opened: Opened, name: str) -> Expected:
    if opened.total is not None and expected.size is not None and opened.total != expected.size:
        raise SourceError(f"{name} has {opened.total} bytes, not the expected {expected.size}")
    size = opened.total if expected.size is None else expected.size
    return msgspec.structs.replace(expected, size=size, digest=expected.digest or opened.digest)


def _remember(part: Path, facts: _Part, start: int) -> None:
    """Drop the bytes that `facts` does not describe, before it is said that they are there."""
    if start == 0:
        part.open("wb").close()
        _facts(part).write_bytes(msgspec.json.encode(facts))


def _hash_beginning(part: Path, size: int, hashes: Hashes) -> None:
    with part.open("rb") as file:
        while size and (chunk := file.read(min(size, _CHUNK_BYTES))):
            hashes.update(chunk)
            size -= len(chunk)


def _copy(opened: Opened, part: Path, hashes: Hashes, size: int | None, on_bytes: OnBytes) -> int:
    """Returns the number of bytes that are there."""
    done = opened.start
    with part.open("r+b") as file:
        file.truncate(done)
        file.seek(done)
        while chunk := _read(opened.stream):
            hashes.update(chunk)
            file.write(chunk)
            file.flush()  # what has arrived outlives this process
            done += len(chunk)
            on_bytes(done, size)
    return done


def _read(stream: Readable) -> bytes:
    """An OSError is the network's here, and the disk's elsewhere."""
    try:
        return stream.read(_CHUNK_BYTES)
    except OSError as error:
        raise Transient(f"the connection broke: {error or type(error).__name__}") from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _hash_file(target: Path, expected: Expected, on_bytes: OnBytes) -> str:
    """The SHA-256 of a file that is there; empty if it is not the expected one."""
    size = target.stat().st_size
    if expected.size not in (None, size):
        return ""
    hashes = Hashes(expected.digest, size)
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hashes.update(chunk)
    if hashes.complaint(target.name):
        return ""
    on_bytes(size, size)
    return hashes.sha256
