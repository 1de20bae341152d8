"""From an engine's name to the engine: imports only what that engine needs."""

from importlib import import_module
from typing import Any

from host.engines.base import Engine
from host.results import Results
from ipc.messages import Launch

# The registry: a new engine is one module and one line here. MODULE:FUNCTION, where FUNCTION(launch, results)
# returns an Engine.
ENGINES = {
    "text": "host.engines.text_loading:load_text_engine",
    "stateful": "host.engines.text_loading:load_text_engine",
    "synthetic": "host.engines.synthetic:SyntheticEngine",
    "embeddings": "host.engines.embeddings:load_embeddings",
    "rerank": "host.engines.rerank:load_rerank",
}


def load_engine(launch: Launch[Any], results: Results) -> Engine:
    """Load the replica's model. Raises whatever the engine raises; takes seconds to minutes."""
    module, _, function = ENGINES[launch.engine].partition(":")
    engine: Engine = getattr(import_module(module), function)(launch, results)
    return engine
