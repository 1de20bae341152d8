"""Keeps a record of each death that nobody asked for, with what is known of the model."""

from pathlib import Path
from typing import Any

import msgspec

from frontend.observability.incidents import Incidents, outcomes_of
from frontend.routing.jobs import Settled
from frontend.routing.route import LocalRoute
from ipc.messages import Launch


class _Config(msgspec.Struct):
    """What a model folder's config.json says."""

    architectures: list[str] = []
    model_type: str | None = None


_config = msgspec.json.Decoder(_Config)


class IncidentLog:
    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def settled(self, route: LocalRoute, settled: Settled) -> None:
        death = settled.death
        if death.expected:
            return
        held = settled.outcomes.total()
        self._incidents.record(
            settled.incident,
            death,
            outcomes_of(held, settled.outcomes, settled.resumed),
            settled.bodies,
            _facts(route, death.replica),
        )


def _facts(route: LocalRoute, number: int) -> dict[str, str | None]:
    card = route.last_card
    host = next((host for host in route.hosts if host.number == number), None)
    options = getattr(host, "options", None)  # of a host on this machine
    launch: Launch[Any] | None = getattr(options, "launch", None)
    return {
        "device_name": card.device_name if card is not None else None,
        "weights": (card.weights or None) if card is not None else None,
        "engine": launch.engine if launch is not None else None,
        "architecture": architecture(launch.path) if launch is not None and launch.path else None,
    }


def architecture(folder: str) -> str | None:
    """That config.json names; None where it does not."""
    try:
        config = _config.decode((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return next(iter(config.architectures), config.model_type)
