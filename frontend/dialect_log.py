"""Logs once per model how it was found to write calls and reasoning."""

import logging
from collections.abc import Callable
from typing import Protocol

from frontend.config import ModelSettings
from frontend.parsing import Dialect, detect
from frontend.supervision.lifecycle import Lifecycle, State
from ipc.messages import ModelCard, TextCard

log = logging.getLogger("nacelle")


class LoadedReplica(Protocol):
    card: ModelCard | None
    life: Lifecycle

    @property
    def model(self) -> str: ...


class DialectLog:
    """Keeps what was logged, so that a restart of a host does not repeat it."""

    def __init__(self, settings_of: Callable[[str], ModelSettings]) -> None:
        """`settings_of` returns the settings of the model of this name."""
        self._settings_of = settings_of
        self._logged: dict[str, Dialect] = {}

    def replica_changed(self, replica: LoadedReplica) -> None:
        card, name = replica.card, replica.model
        if replica.life.state is not State.READY or not isinstance(card, TextCard) or not card.chat_template:
            return
        settings = self._settings_of(name)
        dialect = detect(card.chat_template, settings.tool_format, settings.reasoning_format)
        if self._logged.get(name) == dialect:
            return
        self._logged[name] = dialect
        log.info("%s: %s", name, description(dialect))
        if dialect.is_unread:
            log.warning(
                "the chat template of %s has tools in a form that is not read: they are explained as text; "
                "set tool_format if the model writes calls in a known format",
                name,
            )


def description(dialect: Dialect) -> str:
    tools, reasoning = dialect.tool_format, dialect.reasoning
    calls = f"tool calls as {tools.name}" if tools else "no tool calls in its chat template"
    return f"{calls}, {f'reasoning as {reasoning.name}' if reasoning else 'no reasoning'}"
