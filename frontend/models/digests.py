"""SHA-256 of files, computed while copying, or cached for as long as a user's file stays the same."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from frontend.models.files import write_atomically

_CHUNK_BYTES = 1024 * 1024


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_hashed(
    source: Readable, target: Path, on_bytes: Callable[[int], None], mode: Literal["wb", "ab"] = "wb"
) -> tuple[int, str]:
    """Copy a stream to a new file, or append it to one, and report the bytes copied so far.

    Returns the size and the SHA-256 of the stream.
    """
    digest = hashlib.sha256()
    done = 0
    with target.open(mode) as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
            done += len(chunk)
            on_bytes(done)
    return done, digest.hexdigest()


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A hashed file. If the file changes, one of the first three fields does."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


_decoder = msgspec.json.Decoder(dict[str, Seen])


class DigestCache:
    """Caches hashes in one JSON file, so that a large file is not read at each start."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def knows(self, path: Path) -> bool:
        """Whether the file was hashed and has not changed since. Raises OSError."""
        return self._seen(self._load(), path) is not None

    def sha256(self, path: Path) -> str:
        """The file's SHA-256. Raises OSError."""
        known = self._load()
        if seen := self._seen(known, path):
            return seen.sha256
        status = path.stat()
        seen = Seen(status.st_size, status.st_mtime_ns, status.st_ino, sha256_of(path))
        with contextlib.suppress(OSError):  # a read-only store can still serve its models
            write_atomically(self._file, msgspec.json.encode({**known, str(path.resolve()): seen}))
        return seen.sha256

    def forget_stale(self, *, dry_run: bool = False) -> int:
        """Forget the hashes of files that are gone or have changed. Returns how many. Raises OSError."""
        known = self._load()
        fresh = {name: seen for name, seen in known.items() if self._is_fresh(known, Path(name))}
        if len(fresh) < len(known) and not dry_run:
            write_atomically(self._file, msgspec.json.encode(fresh))
        return len(known) - len(fresh)

    def _is_fresh(self, known: dict[str, Seen], path: Path) -> bool:
        try:
            return self._seen(known, path) is not None
        except OSError:
            return False

    def _seen(self, known: dict[str, Seen], path: Path) -> Seen | None:
        status = path.stat()
        seen = known.get(str(path.resolve()))
        facts = (status.st_size, status.st_mtime_ns, status.st_ino)
        return seen if seen and (seen.size, seen.mtime_ns, seen.inode) == facts else None

    def _load(self) -> dict[str, Seen]:
        try:
            return _decoder.decode(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}  # without the cache, files are hashed again
