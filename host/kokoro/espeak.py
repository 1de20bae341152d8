"""Finds espeak-ng's library and data, which the extra `speech` installs."""

import os
from typing import NamedTuple

EXTRA = "pip install 'nacelle-server[speech]'"


class Espeak(NamedTuple):
    library: str  # the path of the shared library
    data: str  # the folder of its voices


def find_espeak() -> Espeak | None:
    """None without the extra, and without variables that name another installation."""
    named = Espeak(os.environ.get("MISAKI_ESPEAK_LIBRARY", ""), os.environ.get("ESPEAK_DATA_PATH", ""))
    if all(named):
        return named
    try:
        import espeakng_loader
    except ImportError:
        return None
    return Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())


def use_in_genai(espeak: Espeak) -> None:
    """Let GenAI's pipeline load the library: it reads the environment when it is first needed."""
    os.environ["MISAKI_ESPEAK_LIBRARY"] = espeak.library
    os.environ["ESPEAK_DATA_PATH"] = espeak.data
