"""Unpacks archives of model folders. Nothing is written outside of the folder, and nothing but files."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from frontend.models.errors import SourceError
from frontend.models.sources.room import check_room

_MAX_FILES = 10_000
_TAR_MAGIC_AT, _TAR_MAGIC = 257, b"ustar"
_DAMAGES = (zipfile.BadZipFile, tarfile.TarError, EOFError, UnicodeDecodeError)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")


def is_archive(file: Path) -> bool:
    """Whether the file is a zip or tar archive, compressed or not, by its first bytes."""
    with file.open("rb") as content:
        head = content.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    return (
        head.startswith(b"PK\x03\x04") or head.startswith(_COMPRESSED) or head[_TAR_MAGIC_AT:] == _TAR_MAGIC
    )


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into the new `folder`. Returns the folder in it that has the files.

    Raises SourceError for what is no sound archive, and OSError if it cannot be written.
    """
    folder.mkdir()
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        else:
            _untar(archive, folder)
    except NotImplementedError as error:
        raise SourceError(f"{archive.name} is packed in a way that cannot be read: {error}") from error
    except RuntimeError as error:  # zipfile's word for one that is encrypted
        raise SourceError(f"{archive.name} cannot be unpacked: {error}") from error
    except (*_DAMAGES, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not that of gzip or bz2
        why = str(error).partition("\n")[0].rstrip(":")
        raise SourceError(f"{archive.name} is a damaged archive: {why}") from error
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        members = [member for member in content.infolist() if not member.is_dir()]
        _check(len(members), sum(member.file_size for member in members), folder, archive)
        for member in members:
            target = _target(folder, member.filename)
            with content.open(member) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        members = []
        for number, member in enumerate(content):  # which reads no further than it must
            if number >= _MAX_FILES * 2:
                raise SourceError(f"{archive.name} holds more than {_MAX_FILES} files")
            if member.isfile():
                members.append(member)
                _check_count(len(members), archive)
        _check(len(members), sum(member.size for member in members), folder, archive)
        for member in members:
            source = content.extractfile(member)
            assert source is not None  # it is a file
            with source, _target(folder, member.name).open("xb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)
        assert content.fileobj is not None  # it is open
        while content.fileobj.read(1024 * 1024):
            pass  # the checksum of what is compressed comes last


def _check_count(files: int, archive: Path) -> None:
    if files > _MAX_FILES:
        raise SourceError(f"{archive.name} holds more than {_MAX_FILES} files")


def _check(files: int, size: int, folder: Path, archive: Path) -> None:
    _check_count(files, archive)
    check_room(folder, size, f"unpacking {archive.name}")


def _target(folder: Path, name: str) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise SourceError(f"the archive holds {name!r}, which lies outside of it")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
