"""Reverses a text per step."""

import time
from pathlib import Path

import msgspec
from ipc.messages.reverse import Reverse, Reversed, ReverseOptions

from host.engines.base import Body, RequestRefused, not_served
from host.results import Results
from ipc.errors import ErrorCode
from ipc.messages import Failed, Gauges, Launch, ModelCard, Reply, Work


class ReverseEngine:
    def __init__(self, launch: Launch[ReverseOptions], _results: Results) -> None:
        self._seconds = float(Path(launch.path, "seconds").read_text())  # that a text takes: the "model"
        self.card = ModelCard(
            device_name="toy",
            slots=4,
            context_length=1000,
            load_seconds=0.0,
            fingerprint="toy",
            properties={},
        )
        self._waiting: dict[int, str] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def submit(self, work: Work, body: Body) -> list[Reply]:
        if not isinstance(work, Reverse):
            raise not_served(work)
        text = msgspec.msgpack.decode(body, type=str)
        if not text:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "the text is empty", "text")
        self._waiting[work.request_id] = text
        return []

    def cancel(self, request_id: int) -> None:
        self._waiting.pop(request_id, None)

    def step(self) -> list[Reply | Failed]:
        time.sleep(self._seconds)
        request_id = next(iter(self._waiting))
        return [Reversed(request_id, self._waiting.pop(request_id)[::-1])]

    def gauges(self) -> Gauges:
        return Gauges(len(self._waiting), 0)
