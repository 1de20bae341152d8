"""The grammar of a text, as the engine takes it. Pure."""

import json
from collections.abc import Sequence

from host.engines.base import RequestRefused
from ipc.errors import ErrorCode

_BLANKS = {"type": "regex", "pattern": "[ \\n]{0,4}"}  # that models write after their reasoning


def structural_tag(grammar: str, reasoning_markers: Sequence[str], prompt_text: str) -> str:
    """The request's grammar as an XGrammar structural tag, JSON; empty for none.

    Where the prompt leaves the model in its reasoning, the grammar holds after the reasoning's end. Raises
    RequestRefused if the grammar is not JSON.
    """
    if not grammar:
        return ""
    try:
        form = json.loads(grammar)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(
            ErrorCode.INVALID_VALUE, "the grammar is not valid JSON", "response_format"
        ) from error
    if _reasons(reasoning_markers, prompt_text):
        reasoning = {"type": "tag", "begin": "", "content": {"type": "any_text"}}
        end = reasoning_markers[1].strip()
        form = {"type": "sequence", "elements": [reasoning | {"end": end}, _BLANKS, form]}
    return json.dumps({"type": "structural_tag", "format": form})


def _reasons(markers: Sequence[str], prompt_text: str) -> bool:
    return len(markers) == 2 and prompt_text.rstrip().endswith(markers[0].strip())
