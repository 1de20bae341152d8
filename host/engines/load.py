"""From an engine's name to the engine: imports only what that engine needs."""

from importlib import import_module
from pathlib import Path
from typing import Any

from host.devices import check_device
from host.engines.base import Engine
from host.model_folder import check_folder
from host.results import Results
from ipc.ir import check_model
from ipc.messages import Launch, VectorOptions

# The registry: a new engine is one module and one line here. MODULE:FUNCTION, where FUNCTION(launch, results)
# returns an Engine.
ENGINES = {
    "text": "host.engines.text_loading:load_text_engine",
    "stateful": "host.engines.text_loading:load_text_engine",
    "synthetic": "host.engines.synthetic:SyntheticEngine",
    "embeddings": "host.engines.embeddings:load_embeddings",
    "rerank": "host.engines.rerank:load_rerank",
}
# Those that load an OpenVINO model from a folder, and the task for which it must have the files.
_TASKS = {"text": "text", "stateful": "text", "embeddings": "embeddings", "rerank": "rerank"}


def load_engine(launch: Launch[Any], results: Results) -> Engine:
    """Load the replica's model; takes seconds to minutes.

    Raises FileFault or ModelFolderError for a file or device that cannot be used, and whatever the engine
    raises.
    """
    if launch.engine in _TASKS:
        _check(launch)
    module, _, function = ENGINES[launch.engine].partition(":")
    engine: Engine = getattr(import_module(module), function)(launch, results)
    return engine


def _check(launch: Launch[Any]) -> None:
    """Native code reads damaged files with messages that do not name them, and some for ever."""
    library = launch.options.library if isinstance(launch.options, VectorOptions) else "openvino"
    folder, task = Path(launch.path), _TASKS[launch.engine]
    check_folder(folder, task, library)
    check_model(folder, task, library)
    from openvino import Core

    check_device(launch.device, Core().available_devices)
