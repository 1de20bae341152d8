"""From an engine's name to the engine: imports only what that engine needs."""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from host.cache_folder import check_cache_folder
from host.devices import check_device
from host.engines.base import Engine
from host.results import Results
from ipc.ir import check_model
from ipc.messages import Launch, VectorOptions


class EngineEntry(NamedTuple):
    """`load` is MODULE:FUNCTION, where FUNCTION(launch, results) returns an Engine.

    `files` is the task whose files the model folder must hold; None if the engine checks the folder itself.
    """

    load: str
    files: str | None = None


# The registry: a new engine is one module and one line here.
ENGINES = {
    "text": EngineEntry("host.engines.text_loading:load_text_engine", "text"),
    "vision": EngineEntry("host.engines.vision:load_vision_engine", "vision"),
    "stateful": EngineEntry("host.engines.text_loading:load_text_engine", "text"),
    "synthetic": EngineEntry("host.engines.synthetic:SyntheticEngine"),
    "embeddings": EngineEntry("host.engines.embeddings:load_embeddings", "embeddings"),
    "rerank": EngineEntry("host.engines.rerank:load_rerank", "rerank"),
    "transcription": EngineEntry("host.engines.transcription:load_transcription", "transcription"),
    "speech": EngineEntry("host.engines.speech:load_speech", "speech"),
}


def load_engine(launch: Launch[Any], results: Results) -> Engine:
    """Load the replica's model; takes seconds to minutes.

    Raises FileFault or LaunchError for a file or device that cannot be used, and whatever the engine
    raises.
    """
    entry = ENGINES[launch.engine]
    if entry.files is not None:
        _check(launch, entry.files)
    module, _, function = entry.load.partition(":")
    engine: Engine = getattr(import_module(module), function)(launch, results)
    return engine


def _check(launch: Launch[Any], task: str) -> None:
    """Native code reads damaged files with messages that do not name them, and some for ever."""
    library = launch.options.library if isinstance(launch.options, VectorOptions) else "openvino"
    check_model(Path(launch.path), task, library)
    check_cache_folder(launch.properties)
    from openvino import Core

    check_device(launch.device, Core().available_devices)
