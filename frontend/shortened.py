"""Text of clients and operators, as messages and logs quote it."""

VALUE_CHARACTERS = 60  # of a setting's name or value
PATH_CHARACTERS = 120


def shortened(text: str, characters: int) -> str:
    """At most `characters` characters: a longer text is cut and ends in an ellipsis."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def quoted(text: str) -> str:
    """A setting's name or value in quotes, cut if it is long."""
    return repr(shortened(text, VALUE_CHARACTERS))


def shown_path(path: object) -> str:
    """A path or another source, cut if it is long."""
    return shortened(str(path), PATH_CHARACTERS)
