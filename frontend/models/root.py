"""Where the store is."""

from pathlib import Path

from frontend.config import ConfigError
from frontend.config_values import expanded
from frontend.shortened import shown_path
from ipc.model_files import FOLDER, kind_of


def store_root(configured: str | None) -> Path:
    """The store's folder, which need not exist: the configured one, or one in the user's data folder.

    Raises ConfigError if it cannot be one.
    """
    root = expanded(configured, "store") if configured is not None else _default()
    try:
        kind = kind_of(root)
    except (OSError, ValueError) as error:
        shown = shown_path(root) if isinstance(error, OSError) else repr(shown_path(root))
        reason = (error.strerror if isinstance(error, OSError) else "") or error
        raise ConfigError(f"cannot read {shown}: {reason}; choose another store with --store") from error
    if kind not in ("", FOLDER):
        raise ConfigError(f"the store {shown_path(root)} is {kind}; choose a folder with --store")
    return root


def _default() -> Path:
    import platformdirs  # slow to import, and not needed where the store is configured

    return Path(platformdirs.user_data_dir("nacelle", appauthor=False))
