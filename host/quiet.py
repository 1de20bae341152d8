"""Keeps dependencies from calling anybody. Imported first in every process that loads a native library.

`import openvino` reports itself to an analytics service and leaves a client id in the user's home. It does
neither where its telemetry package cannot be imported, and it checks for that itself. The user's consent for
other programs stays as it is. Models are local files, so that the libraries of Hugging Face need no network.
"""

import os
import sys
from types import ModuleType
from typing import cast

_TELEMETRY = "openvino_telemetry"
_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


# A None makes the import fail. Where somebody has loaded the package before us, nothing can be undone.
sys.modules.setdefault(_TELEMETRY, cast(ModuleType, None))
os.environ.update(_SETTINGS)  # read by libraries in this process, and by children of theirs
