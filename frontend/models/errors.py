"""What can go wrong on the way from a model's source to a folder that a host can load."""


class ModelError(Exception):
    """A model that cannot be prepared. The message is for the operator."""


class SourceError(ModelError):
    """One source of a catalogue entry failed; another may do."""
