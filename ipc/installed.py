"""What is installed, found without importing it: versions of packages, and what OpenVINO here can read.

`importlib.metadata` answers the same about versions, but its import takes longer than all else that
`nacelle list` does.
"""

import importlib.util
import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_OPSET = re.compile(r"opset(\d+)")


@lru_cache
def version_of(package: str) -> str:
    """The version of an installed package. Raises importlib.metadata.PackageNotFoundError."""
    return find_version(package, sys.path) or _from_metadata(package)


def find_version(package: str, path: Iterable[str]) -> str:
    """The version that the name of the package's metadata folder states; empty if there is none."""
    pattern = re.compile(rf"{re.sub('[-_.]+', '[-_.]', package)}-([^-]+)\.dist-info", re.IGNORECASE)
    for folder in path:
        for name in _names(folder or "."):
            if match := pattern.fullmatch(name):
                return match[1]
    return ""


@lru_cache(1)
def newest_opset() -> int:
    """The newest set of operations that the installed OpenVINO has; 0 if that cannot be told."""
    spec = importlib.util.find_spec("openvino")
    folders = spec.submodule_search_locations if spec else None
    names = [
        match[1] for folder in folders or () for name in _names(folder) if (match := _OPSET.fullmatch(name))
    ]
    return max(map(int, names), default=0)


@lru_cache
def _names(folder: str) -> tuple[str, ...]:
    try:
        return tuple(entry.name for entry in Path(folder).iterdir())
    except OSError:
        return ()


def _from_metadata(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)
