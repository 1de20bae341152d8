"""A supervisor that is told to stop, with a host in place of which the test stands."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from frontend.supervision.death import Death
from frontend.supervision.incarnation import ArenaSizes, Ending
from frontend.supervision.lifecycle import Lifecycle, State
from frontend.supervision.memory import oom_kills
from frontend.supervision.supervisor import Supervisor, SupervisorOptions
from ipc.channel import ChannelError
from ipc.messages import Drain
from ipc.progress import Phase
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

    def siblings_of(self, _: object) -> list[Any]:
        return []

    def can_move(self, _: object) -> bool:
        return True

    def held_by(self, _: object) -> int:
        return 1


NOBODY = Nobody()


class Reader(Deaf):
    """A host that reads."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[object] = []
        self.pid = os.getpid()

    def send(self, message: object) -> None:
        self.sent.append(message)


def supervisor_of(host: Any, listener: Any = NOBODY, *, soft_memory_bytes: int = 0) -> Supervisor:
    """Of a host that nobody spawned."""
    options = SupervisorOptions(
        launch_of("m", engine="synthetic"),
        0,
        ArenaSizes(4096, 4096),
        30.0,
        5.0,
        soft_memory_bytes=soft_memory_bytes,
    )
    context: Any = None
    supervisor = Supervisor(options, lambda name: Path(name), context, listener)
    supervisor.incarnation = host
    return supervisor


def test_a_host_beyond_its_limit_is_drained_once_it_has_worked_and_leaves_what_can_be_continued() -> None:
    host: Any = Reader()

    async def run() -> None:
        supervisor = supervisor_of(host, soft_memory_bytes=1)
        supervisor.card = CARD
        supervisor.life = Lifecycle(State.READY)
        supervisor.watch_size(time.monotonic())
        assert supervisor.life.state is State.READY
        supervisor.completed()
        supervisor.watch_size(time.monotonic())
        assert supervisor.life.recycling
        assert host.sent == [Drain()]
        supervisor.watch_size(time.monotonic())

    asyncio.run(run())
    assert host.signals == [signal.SIGTERM]


@pytest.mark.parametrize("is_ready", [True, False])
def test_only_a_host_that_was_ready_is_condemned_for_not_reading_that_it_must_drain(
    is_ready: bool,
) -> None:
    host: Any = Deaf()

    async def run() -> None:
        supervisor = supervisor_of(host)
        supervisor.card = CARD if is_ready else None
        supervisor.life = Lifecycle(State.READY if is_ready else State.STARTING)
        supervisor.stop()

    asyncio.run(run())
    if is_ready:
        assert host.condemned == ["the other side has stopped reading"]
    else:
        assert not host.condemned
        assert signal.SIGKILL in host.signals


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_death_tells_whether_an_administrator_asked_for_it_and_is_waited_for(is_asked: bool) -> None:
    deaths: list[Death] = []
    host: Any = Reader()

    class Mourner(Nobody):
        def replica_died(self, _: object, death: Death) -> bool:
            deaths.append(death)
            return True

    async def run() -> None:
        supervisor = supervisor_of(host, Mourner())
        supervisor.life = Lifecycle(State.DRAINING)
        supervisor._oom_kills = oom_kills()  # as after a spawn, whatever this machine has seen before
        if is_asked:
            supervisor.kill()
            host.doomed = True
            supervisor.kill()
        waiting = asyncio.create_task(supervisor.gone())
        await asyncio.sleep(0)
        assert not waiting.done()
        supervisor._ended(Ending(-signal.SIGKILL, Phase.STEP, None, ()))
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())
    assert [(death.killed, death.cause) for death in deaths] == [
        (is_asked, "killed" if is_asked else "SIGKILL")
    ]
