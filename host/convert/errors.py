"""Why a model's source files cannot be converted."""


class ConversionError(Exception):
    """Source files that cannot be converted. The text names the file or field at fault, but no path."""
