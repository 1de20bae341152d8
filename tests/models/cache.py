"""A folder of what tests fetch or build once: each entry is there whole or not at all."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache. Unless it is there, `build` fills an empty one first.

    Several processes may ask at once: one builds, the others wait. What `build` makes may change only
    together with the name.
    """
    folder = platformdirs.user_cache_path("nacelle") / "tests" / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}-partial-", dir=folder.parent))
            try:
                build(partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder
