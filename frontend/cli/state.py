"""The folder of what the command line remembers: history, background servers and their logs."""

from pathlib import Path


def state_folder() -> Path:
    """The folder, which need not exist: XDG_STATE_HOME/nacelle or its default."""
    import platformdirs

    return Path(platformdirs.user_state_dir("nacelle", appauthor=False))
