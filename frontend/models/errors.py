"""Errors in preparing models for hosts."""


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
