"""Fault injection by [[fault:KIND]] and [[fault:KIND@N]] in a prompt. Used only where the launch says so."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, cast

from ipc.messages import ChatPrompt, InlinePrompt, Step, TextPrompt, ToFrontend

Kind = Literal["segv", "abort", "exit", "hang", "raise"]
_MARKER = re.compile(r"\[\[fault:(segv|abort|exit|hang|raise)(?:@(\d{1,9}))?\]\]")


class Fault(NamedTuple):
    kind: Kind
    at_token: int  # strikes when so many tokens have been generated; 0 on reaching the engine


def find_fault(prompt: InlinePrompt) -> Fault | None:
    """The first marker in a prompt's text."""
    for text in _texts(prompt):
        marker = _MARKER.search(text)
        if marker:
            return Fault(cast(Kind, marker[1]), int(marker[2] or 0))
    return None


def _texts(prompt: InlinePrompt) -> list[str]:
    if isinstance(prompt, ChatPrompt):
        return [message.content or "" for message in prompt.messages]
    return [prompt.text] if isinstance(prompt, TextPrompt) else []


class FaultInjector:
    """Counts the tokens of marked requests and strikes, inside the step phase.

    A host that dies at a request's N-th token has not sent it, so each incarnation dies at the same point.
    """

    def __init__(self, poison: Callable[[int], None]) -> None:
        """`poison` makes the engine's next step raise because of a request."""
        self._poison = poison
        self._armed: dict[int, Fault] = {}
        self._generated: dict[int, int] = {}

    def arm(self, request_id: int, prompt: InlinePrompt, generated: int = 0) -> None:
        """`generated` tokens came from earlier incarnations."""
        fault = find_fault(prompt)
        if fault is not None:
            self._armed[request_id] = fault
            self._generated[request_id] = generated

    def before_step(self) -> None:
        self._strike_due()

    def after_step(self, messages: Iterable[ToFrontend]) -> None:
        for message in messages:
            if isinstance(message, Step):
                for delta in message.deltas:
                    if delta.request_id in self._armed:
                        self._generated[delta.request_id] += len(delta.token_ids)
        self._strike_due()

    def _strike_due(self) -> None:
        for request_id, fault in list(self._armed.items()):
            if self._generated[request_id] >= fault.at_token:
                del self._armed[request_id], self._generated[request_id]
                self._strike(fault.kind, request_id)

    def _strike(self, kind: Kind, request_id: int) -> None:
        match kind:
            case "segv":
                signal.raise_signal(signal.SIGSEGV)
            case "abort":
                os.abort()
            case "exit":
                os._exit(0)
            case "hang":
                while True:
                    time.sleep(3600)
            case "raise":
                self._poison(request_id)
