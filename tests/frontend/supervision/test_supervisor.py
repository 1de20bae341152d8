"""A supervisor that is told to stop, with a host in place of which the test stands."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from frontend.supervision.incarnation import ArenaSizes
from frontend.supervision.lifecycle import Lifecycle, State
from frontend.supervision.supervisor import Supervisor, SupervisorOptions
from ipc.channel import ChannelError
from tests.frontend.routing.hosts import CARD
from tests.host.harness import launch_of


class Deaf:
    """A host that reads nothing."""

    doomed = False

    def __init__(self) -> None:
        self.condemned: list[str] = []
        self.signals: list[int] = []

    def send(self, _: object) -> None:
        raise ChannelError("the other side has stopped reading")

    def condemn(self, why: str) -> None:
        self.condemned.append(why)

    def signal(self, number: int) -> None:
        self.signals.append(number)


class Nobody:
    def replica_changed(self, _: object) -> None: ...


@pytest.mark.parametrize("is_ready", [True, False])
def test_only_a_host_that_was_ready_is_condemned_for_not_reading_that_it_must_drain(
    is_ready: bool,
) -> None:
    host: Any = Deaf()

    async def run() -> None:
        options = SupervisorOptions(launch_of("m", engine="synthetic"), 0, ArenaSizes(4096, 4096), 30.0, 5.0)
        context: Any = None  # nothing is spawned
        listener: Any = Nobody()
        supervisor = Supervisor(options, lambda name: Path(name), context, listener)
        supervisor.incarnation = host
        supervisor.card = CARD if is_ready else None
        supervisor.life = Lifecycle(State.READY if is_ready else State.STARTING)
        supervisor.stop()

    asyncio.run(run())
    if is_ready:
        assert host.condemned == ["the other side has stopped reading"]
    else:
        assert not host.condemned
        assert signal.SIGKILL in host.signals
