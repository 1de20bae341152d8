"""Files and folders that are replaced or removed at once, whatever happens meanwhile."""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

TRASH = ".trash"  # a folder of the store: what is removed moves here first
_TRIES = 5


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file. Readers see either the old content or the new. Raises OSError."""
    _replace(path, content, durable=False)


def write_durably(path: Path, content: bytes) -> None:
    """The same, also after a power failure."""
    _replace(path, content, durable=True)


def _replace(path: Path, content: bytes, *, durable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Write a file, or a folder's entries, to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """Write a folder with all that is in it to the disk. Raises OSError."""
    for path in folder.rglob("*"):
        if path.is_dir() or path.is_file():
            sync(path)
    sync(folder)


def share(root: Path, source: Path, target: Path) -> None:
    """A second name for a file of the store `root` where the file system has such, else a copy.

    A file from elsewhere is copied, since its owner may change it in place. So is one that a symbolic link
    leads to. Raises OSError.
    """
    real = source.resolve(strict=True)  # a hard link to a symbolic link would lead elsewhere, or nowhere
    if real.is_relative_to(root.resolve()):
        with contextlib.suppress(OSError):
            os.link(real, target)
            return
    shutil.copyfile(real, target)


def remove_tree(root: Path, path: Path) -> None:
    """Remove a folder of the store `root`, which is gone at once or not at all. Raises OSError."""
    trash = root / TRASH
    place = trash / f"{path.name}-{os.urandom(4).hex()}"
    for attempt in range(_TRIES):
        trash.mkdir(exist_ok=True)
        try:
            path.rename(place)
        except FileNotFoundError:  # another process has just removed the empty trash
            if attempt == _TRIES - 1 or not path.exists():
                raise
        else:
            break
    empty_trash(root)


def empty_trash(root: Path) -> None:
    """Finish removals, those that were interrupted too."""
    trash = root / TRASH
    for path in trash.iterdir() if trash.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        trash.rmdir()


def bytes_of(paths: Iterable[Path]) -> int:
    """What removing these files and folders frees: a file that has a link elsewhere frees nothing."""
    links: Counter[tuple[int, int]] = Counter()
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for path in paths:
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            with contextlib.suppress(OSError):
                found = file.lstat()
                if not file.is_dir():
                    key = (found.st_dev, found.st_ino)
                    links[key] += 1
                    sizes[key] = (found.st_size, found.st_nlink)
    return sum(size for key, (size, count) in sizes.items() if links[key] >= count)
