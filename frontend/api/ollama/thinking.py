"""Ollama's `think`: whether the model reasons before it answers, and how much. Pure."""

from typing import Any

from frontend.api.prompting import REASONING_ON
from frontend.errors import BadRequest

_LEVELS = ("low", "medium", "high")


def check_think(think: bool | str | None) -> None:
    """Raises BadRequest."""
    if isinstance(think, str) and think not in _LEVELS:
        raise BadRequest(
            f'think: must be true, false, "low", "medium" or "high", not {think[:40]!r}', "think"
        )


def effort_of(think: bool | str | None) -> str | None:
    """The effort of reasoning that is asked for; None leaves it to the chat template."""
    if think is False:
        return "none"
    return think if isinstance(think, str) else None


def template_arguments_of(think: bool | str | None) -> dict[str, Any]:
    return REASONING_ON if think is True else {}


def check_thinks(think: bool | str | None, reasons: bool, model: str) -> None:
    """Raises BadRequest where a model that does not reason is asked to."""
    if think and not reasons:
        raise BadRequest(f'think: "{model}" does not support thinking; leave it out', "think")
