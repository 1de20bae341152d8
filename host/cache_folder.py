"""Whether the folder for compiled models, a property of OpenVINO, can be used.

OpenVINO names neither the property nor, for some folders, any fault: it then compiles at every start.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from host.errors import LaunchError

_PROPERTY = "CACHE_DIR"


def check_cache_folder(properties: Mapping[str, str]) -> None:
    """Make the folder if there is none. Raise LaunchError, naming the property, if it cannot be used."""
    folder = properties.get(_PROPERTY, "")
    if not folder:  # also OpenVINO's way to turn the cache off
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _unusable(folder, f"cannot be made: {reason}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable(folder, "cannot be written to")


def _unusable(folder: str, why: str) -> LaunchError:
    return LaunchError(f"{_PROPERTY}: the folder {folder} {why}; change --property {_PROPERTY}")
