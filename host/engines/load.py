"""From an engine's kind to the engine: imports only what that kind needs."""

from host.engines.base import Engine
from ipc.messages import Launch


def load_engine(launch: Launch) -> Engine:
    """Load the replica's model. Raises whatever the engine raises; takes seconds to minutes."""
    if launch.engine == "synthetic":
        from host.engines.synthetic import SyntheticEngine

        return SyntheticEngine(launch)
    from host.engines.text_loading import load_text_engine

    return load_text_engine(launch)
