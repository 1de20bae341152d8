"""An assistant's turn in a conversation: what chat completions and responses have in common.

From messages, tools and an output format to a generation, and from its text to events.
"""

from typing import Any, Literal

import falcon.asgi
import msgspec

from frontend.parsing.events import Event
from frontend.routing.generation import Usage
from frontend.routing.router import Router
from ipc.messages import ChatMessage, Sampling


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None  # a JSON schema; None for any object
    strict: bool = False  # its calls must validate against the schema


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    tools: list[FunctionTool]
    choice: Literal["none", "auto", "required"] = "auto"
    named: str | None = None  # the one function that must be called; `choice` is "required" then
    parallel: bool = True  # several calls in one turn are allowed


class TurnSpec(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    messages: list[ChatMessage]
    samplings: list[Sampling]  # one per choice, without a grammar
    tool_use: ToolUse | None = None
    output_format: dict[str, Any] | None = None  # the format of a structural tag, which the answer must keep to
    reasoning_effort: str | None = None  # none, minimal, low, medium, high, …
    template_arguments: dict[str, Any] = {}
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    streaming: bool = False  # the client sees events as they come
    report_ids: bool = False


class Finished(msgspec.Struct, frozen=True):
    reason: Literal["stop", "length", "tool_calls"]


class StartedOver(msgspec.Struct, frozen=True):
    """All events of the choice so far are void. Never where the client streams."""


TurnEvent = Event | Finished | StartedOver


class TurnUsage(Usage, frozen=True):
    reasoning_tokens: int = 0


class Turn:
    """Read `events` to the end, then `usage`; `close` it whatever happens."""

    async def events(self) -> list[tuple[int, TurnEvent]]:
        """(choice, event) pairs that came since the last call, at least one; empty at the end.

        Raises ServerError or ClientGone.
        """
        raise NotImplementedError

    @property
    def usage(self) -> TurnUsage:
        raise NotImplementedError

    def close(self) -> None:
        """Whatever still runs is cancelled."""
        raise NotImplementedError


async def begin_turn(router: Router, spec: TurnSpec, request: falcon.asgi.Request | None) -> Turn:
    """A turn that every engine has accepted. It ends when the client of `request` leaves; None: nobody waits.

    Raises ServerError.
    """
    raise NotImplementedError
