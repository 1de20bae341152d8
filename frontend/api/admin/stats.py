"""GET /admin/stats: what was answered since the start and lately, by model, and what is going on now."""

import os

import falcon.asgi
import msgspec

from frontend.access.sight import sight
from frontend.api.area import App, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import describes
from frontend.library import Library, ModelStatus
from frontend.observability.tally import Rates, Tally, Totals
from frontend.supervision.memory import resident_bytes


class MemoryStats(msgspec.Struct):
    """Resident bytes; what hosts of one model share counts once."""

    frontend: int
    hosts: int


class ModelStats(msgspec.Struct, kw_only=True):
    """Of one model, or of all. Times are in seconds."""

    state: str | None  # as in GET /admin/models; None of all, and of models that are no longer served
    running: int
    queued: int
    memory_bytes: int  # that its hosts hold
    requests: int
    outcomes: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    mean_seconds: float | None
    mean_first_token_seconds: float | None
    per_second: Rates


class Stats(msgspec.Struct):
    uptime_seconds: float
    in_flight: int  # HTTP requests and WebSockets
    memory_bytes: MemoryStats
    total: ModelStats
    models: dict[str, ModelStats]


class StatsResource:
    def __init__(self, server: Server) -> None:
        self._control = server.control
        self._library: Library = server.library

    @describes("Figures of the server and its models", answer=Stats)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        statuses = {status.name: status for status in self._library.statuses()}
        tally = self._control.tally
        hosts = sum(status.memory_bytes for status in statuses.values())
        body = Stats(
            uptime_seconds=round(tally.uptime_seconds, 1),
            in_flight=sum(1 for _ in self._control.in_flight),
            memory_bytes=MemoryStats(resident_bytes(os.getpid()), hosts),
            total=_stats(tally.totals(), list(statuses.values()), None),
            models={
                name: _of_model(name, statuses, tally)
                for name in {**statuses, **dict.fromkeys(filter(sight().has, tally.models))}
            },
        )
        respond_json(response, body)


def _of_model(name: str, statuses: dict[str, ModelStatus], tally: Tally) -> ModelStats:
    status = statuses.get(name)
    found = [] if status is None else [status]
    return _stats(tally.totals(name), found, status.state if status is not None else None)


def _stats(totals: Totals, statuses: list[ModelStatus], state: str | None) -> ModelStats:
    return ModelStats(
        state=state,
        running=sum(status.running for status in statuses),
        queued=sum(status.queued for status in statuses),
        memory_bytes=sum(status.memory_bytes for status in statuses),
        **msgspec.structs.asdict(totals),
    )


def install(app: App, server: Server) -> None:
    app.add_route("/admin/stats", StatsResource(server))
