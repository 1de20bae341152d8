"""Reasoning in Anthropic's API: its switch, and the signatures of thinking blocks. Pure."""

import base64
import binascii
from typing import Any

from frontend.api.prompting import REASONING_ON
from frontend.api.schema.messages import ThinkingBody
from frontend.errors import BadRequest

_ON = ("enabled", "adaptive", "between_tools")
_OFF = "disabled"
OMITTED = "omitted"
_HIGHEST = "high"  # that chat templates know
_EFFORTS = {"xhigh": _HIGHEST, "max": _HIGHEST}
_SIGNATURE = "nacelle"


def effort_of(thinking: ThinkingBody | None, effort: str | None) -> str | None:
    """The effort of reasoning for the chat template; None leaves it to the template. Raises BadRequest."""
    if thinking is not None and thinking.type not in (*_ON, _OFF):
        raise BadRequest(
            f"thinking.type: must be {', '.join(_ON)} or {_OFF}, not {thinking.type[:40]!r}", "thinking.type"
        )
    if thinking is not None and thinking.type == _OFF:
        return "none"
    return None if effort is None else _EFFORTS.get(effort, effort)


def template_arguments_of(thinking: ThinkingBody | None) -> dict[str, Any]:
    return REASONING_ON if thinking is not None and thinking.type in _ON else {}


def signature_of(thought: str, *, is_omitted: bool) -> str:
    """What clients send back with a thinking block. If its text is omitted, the signature holds it."""
    return f"{_SIGNATURE}:{base64.b64encode(thought.encode()).decode()}" if is_omitted else _SIGNATURE


def thought_of(thinking: str, signature: str) -> str:
    """The text of a thinking block that was sent back, whichever server wrote it."""
    mark, _, text = signature.partition(":")
    if thinking or mark != _SIGNATURE:
        return thinking
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
