"""Compaction items: a summary in place of the conversation before it. Pure.

OpenAI's are encrypted, and only its own servers can read them. Ours are the summary itself behind a mark.
"""

_MARK = "nacelle-summary:"
_INTRODUCTION = "Summary of the conversation so far:"
_UNREADABLE = (
    "[An earlier part of this conversation was compacted by another server and cannot be read here.]"
)
_CUT = "[The summary was cut here.]"

INSTRUCTION = (
    "Summarize the conversation above for whoever continues it and cannot see it: the user's requests and "
    "constraints, what was done and found, with exact names, paths and values, and what remains to be done. "
    "Write the summary only."
)


def cut(summary: str) -> str:
    """A summary that was cut at the limit of tokens."""
    return f"{summary} {_CUT}"


def sealed(summary: str) -> str:
    """The content of a compaction item of ours."""
    return _MARK + summary


def summary_text(content: str) -> str:
    """What a model is shown of a compaction item, whoever made it."""
    if content.startswith(_MARK):
        return f"{_INTRODUCTION}\n{content.removeprefix(_MARK)}"
    # Encrypted content is one word; a summary is not.
    return f"{_INTRODUCTION}\n{content}" if len(content.split(maxsplit=1)) > 1 else _UNREADABLE
