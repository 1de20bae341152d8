"""Fault injection by [[fault:KIND]] and [[fault:KIND@N]] in a payload. Used only where the launch says so."""

import os
import re
import signal
import time
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

from host.engines.base import Body, Engine
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed, Gauges, Reply, Work

Kind = Literal["segv", "abort", "exit", "hang", "raise"]
_MARKER = re.compile(rb"\[\[fault:(segv|abort|exit|hang|raise)(?:@(\d{1,9}))?\]\]")


class Fault(NamedTuple):
    kind: Kind
    at_unit: int  # strikes when this many units of progress were made; 0 on reaching the engine


def find_fault(body: Body) -> Fault | None:
    """The first marker in a payload: texts travel in it as UTF-8."""
    marker = _MARKER.search(body)
    return Fault(cast(Kind, marker[1].decode()), int(marker[2] or 0)) if marker else None


class FaultyEngine:
    """Wraps an engine: counts the progress of marked requests and strikes, inside `step`.

    A host that dies at a request's N-th unit has not sent it, so each incarnation dies at the same point.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.card = engine.card
        self._armed: dict[int, Fault] = {}
        self._made: dict[int, int] = {}
        self._raised: list[int] = []

    @property
    def busy(self) -> bool:
        return self._engine.busy or bool(self._raised)

    def submit(self, work: Work, body: Body) -> list[Reply]:
        replies = self._engine.submit(work, body)
        fault = find_fault(body)
        if fault is not None and not any(reply.ends for reply in replies):
            self._armed[work.request_id] = fault
            self._made[work.request_id] = work.done_units
        return replies

    def cancel(self, request_id: int) -> None:
        self._disarm(request_id)
        self._engine.cancel(request_id)

    def step(self) -> list[Reply | Failed]:
        self._strike_due()
        messages = self._engine.step()
        self._count(messages)
        self._strike_due()
        failed = [Failed(request_id, _RAISED) for request_id in self._raised]
        self._raised.clear()
        return [*messages, *failed]

    def gauges(self) -> Gauges:
        return self._engine.gauges()

    def _count(self, messages: Iterable[Reply | Failed]) -> None:
        for message in messages:
            if message.request_id in self._armed and isinstance(message, Reply):
                self._made[message.request_id] += message.units

    def _strike_due(self) -> None:
        for request_id, fault in list(self._armed.items()):
            if self._made[request_id] >= fault.at_unit:
                self._disarm(request_id)
                self._strike(fault.kind, request_id)

    def _disarm(self, request_id: int) -> None:
        self._armed.pop(request_id, None)
        self._made.pop(request_id, None)

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
                self._raise(request_id)

    def _raise(self, request_id: int) -> None:
        """Let the engine's own step fail because of the request, where the engine knows how."""
        poison = getattr(self._engine, "poison", None)
        if poison is not None:
            poison(request_id)
        else:
            self._engine.cancel(request_id)
            self._raised.append(request_id)


_RAISED = RequestError(ErrorCode.ENGINE_FAILED, "the engine failed on this request")
