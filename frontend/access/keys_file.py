"""The file of API keys: read within bounds, written atomically, and followed while the server runs."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from frontend.access.keys import KeyRecord, KeyRing
from frontend.allowed_values import allowed_values
from frontend.config import ConfigError
from frontend.config_values import one_of
from frontend.shortened import shown_path

FILE_NAME = "keys.json"
_MAX_BYTES = 4 * 1024**2
_CHOICE = re.compile(r"Invalid enum value .* - at `\$\.(.*)`", re.DOTALL)
_LOOK_SECONDS = 0.5  # between two looks at the file, however many requests there are
_MODE = 0o600

log = logging.getLogger("nacelle")


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1] = 1
    keys: list[KeyRecord] = []


_decoder = msgspec.json.Decoder(_Document)
Stamp = tuple[int, int, int, int]  # what changes with the file


def read_keys(path: Path) -> tuple[KeyRing, Stamp]:
    """Raises FileNotFoundError, or ConfigError for a file that cannot be used."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{shown_path(path)} is not a file; name the file of keys")
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(
            f"api_keys_file: cannot read {shown_path(path)}: {error.strerror or error}; "
            "let this user read it, or name another file"
        ) from error
    return _ring(content, path), _stamp(found)


def _ring(content: bytes, path: Path) -> KeyRing:
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{shown_path(path)} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        document = _decoder.decode(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{shown_path(path)} is not a valid file of keys: {_words(str(error))}") from error
    for what in ("id", "sha256"):
        values = [getattr(record, what) for record in document.keys]
        if len(set(values)) != len(values):
            raise ConfigError(
                f"{shown_path(path)} is not a valid file of keys: two keys have the same {what}"
            )
    return KeyRing(tuple(document.keys))


def _words(complaint: str) -> str:
    """Names the field, never its value, which may be a key in the wrong place."""
    choice = _CHOICE.fullmatch(complaint)
    allowed = allowed_values(_decoder.type, choice[1]) if choice else ()
    return f"{choice[1]}: must be {one_of(allowed)}" if choice and allowed else complaint


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


def exposure(mode: int) -> str:
    """Why others could misuse a file with this mode; empty if they cannot."""
    if mode & 0o022:
        return "other users may write it, and so add keys of their own"
    if mode & 0o004:
        return "every user may read it"
    return ""


class KeysFile:
    """The keys in a file, read again when it changes. If that fails, the last valid keys stay in force."""

    def __init__(self, path: Path, *, required: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Unless `required`, the file may be created later. Raises ConfigError."""
        self.path = path
        self._clock = clock
        self._looked_at = clock()
        self._stamp: Stamp | None = None
        self._complaint: tuple[Stamp | None, str] | None = None  # what was logged last
        self._ring: KeyRing | None = None
        try:
            self._ring, self._stamp = read_keys(path)
        except FileNotFoundError:
            if required:
                raise ConfigError(
                    f"api_keys_file: {shown_path(path)} does not exist; create it with nacelle keys add NAME "
                    f"--api-keys-file {shown_path(path)}"
                ) from None
        except ConfigError:
            if required or path.exists():
                raise  # else its folder cannot be read
        if self._ring is not None:
            self._tell(self._ring)

    @property
    def ring(self) -> KeyRing | None:
        """None as long as there has never been a file."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._ring

    def _look(self) -> None:
        stamp = None
        try:
            stamp = _stamp(self.path.stat())
            if stamp == self._stamp:
                self._complaint = None
                return
            if self._complaint is not None and self._complaint[0] == stamp:
                return  # still the same broken file
            self._ring, self._stamp = read_keys(self.path)
        except FileNotFoundError:
            if self._ring is not None:
                self._complain(stamp, f"the file of keys {shown_path(self.path)} is gone")
        except (ConfigError, OSError) as error:
            self._complain(stamp, str(error))
        else:
            self._complaint = None
            self._tell(self._ring)

    def _complain(self, stamp: Stamp | None, why: str) -> None:
        if self._complaint != (stamp, why):
            self._complaint = (stamp, why)
            log.error("%s; the keys that were read last stay in force", why)

    def _tell(self, ring: KeyRing) -> None:
        """Say that requests need a key now, and what is wrong with the file."""
        path = shown_path(self.path)
        valid = sum(record.refusal(time.time()) == "" for record in ring.records)
        log.info("requests need a key: %d of %d API keys in %s are valid", valid, len(ring.records), path)
        if not valid:
            log.warning("no API key in %s is valid; write nacelle keys add NAME", path)
        self._warn_of_exposure()

    def _warn_of_exposure(self) -> None:
        if self._stamp is not None and (why := exposure(self._stamp[3])):
            log.warning("%s: %s; run chmod 600 on it", shown_path(self.path), why)


def default_path() -> Path:
    """In the user's configuration folder."""
    import platformdirs  # slow to import

    return Path(platformdirs.user_config_dir("nacelle", appauthor=False)) / FILE_NAME


def keys_path(configured: str | None) -> Path:
    """Where the keys are. Raises ConfigError."""
    from frontend.config_values import expanded

    return default_path() if configured is None else expanded(configured, "api_keys_file")


@contextlib.contextmanager
def changing(path: Path) -> Iterator[list[KeyRecord]]:
    """Lock the file, yield its records, then write what the list holds.

    A symbolic link stays one. Raises ConfigError.
    """
    try:
        real = Path(os.path.realpath(path))
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(real.with_name(f".{real.name}.lock")):
            try:
                records = list(read_keys(real)[0].records)
            except FileNotFoundError:
                records = []
            yield records
            _write(real, records)
    except OSError as error:
        raise ConfigError(
            f"cannot write the keys in {shown_path(path)}: {error.strerror or error}"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: Path, records: list[KeyRecord]) -> None:
    """Readers find either the old file or the new one, even after a power failure."""
    content = msgspec.json.format(msgspec.json.encode(_Document(1, records)), indent=2) + b"\n"
    if len(content) > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    owner = path.stat() if path.exists() else None
    written = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        fd = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        with os.fdopen(fd, "wb") as file:
            if owner is not None and os.geteuid() == 0:  # a server of another user must still read it
                os.fchown(fd, owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(fd)
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
