"""Errors in preparing models for hosts."""

import errno


class ModelError(Exception):
    """A model that cannot be prepared. The message is for the operator."""


class SourceError(ModelError):
    """One source of a catalogue entry failed. Another may work."""


class ModelMissing(ModelError):
    """The store has no model of this name."""


class ModelInUse(ModelError):
    """A running server has the model loaded."""


class ModelExists(ModelError):
    """Another model has this name."""


def is_full(error: OSError) -> bool:
    """Whether a disk or a quota has no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def store_remedy(error: OSError) -> str:
    """What to do about a store that cannot be written."""
    return f"{'free some space, or ' if is_full(error) else ''}choose another store with --store"
