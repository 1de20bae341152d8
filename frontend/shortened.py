"""Text of clients and operators, as messages and logs quote it."""


def shortened(text: str, characters: int) -> str:
    """At most `characters` characters: a longer text is cut and ends in an ellipsis."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
