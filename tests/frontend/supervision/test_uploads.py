"""Uploads on their way to a host: copied beside the event loop, and sent only if they are still wanted."""

import asyncio
import signal
from types import SimpleNamespace

import msgspec
import pytest
import zmq

from frontend.spool import Spool, Spools
from frontend.supervision.incarnation import ArenaSizes, Incarnation
from ipc.messages import Accepted, Failed, Generate, Ready, Release, Sampling, TextInput, TextPrompt
from tests.host.harness import launch_of

ROOM = 1024 * 1024
INPUT = msgspec.msgpack.encode(TextInput(TextPrompt("word " * 20_000)))


class Running:
    """A host with the synthetic engine, and what it says."""

    def __init__(self, folder, context) -> None:
        self.messages: asyncio.Queue = asyncio.Queue()
        launch = launch_of("nowhere", engine="synthetic")
        self.ended = asyncio.get_running_loop().create_future()
        sizes = ArenaSizes(ROOM, ROOM)
        self.host = Incarnation(launch, folder / "s", sizes, context, self._take, self.ended.set_result)

    def _take(self, messages) -> None:
        for message in messages:
            self.messages.put_nowait(message)

    async def until(self, kind):
        while not isinstance(message := await asyncio.wait_for(self.messages.get(), 60), kind):
            pass
        return message

    async def end(self) -> None:
        if not self.ended.done():
            self.host.signal(signal.SIGKILL)
        await asyncio.wait_for(self.ended, 60)


@pytest.fixture
def with_host(short_path, tmp_path):
    """Runs a coroutine function of a running host and an upload that is a prompt."""

    def run(use) -> None:
        async def main() -> None:
            context: zmq.Context = zmq.Context()
            running = Running(short_path, context)
            spool = Spools(tmp_path, 10**9).create()
            try:
                await spool.write(INPUT)
                await running.until(Ready)
                await use(running, spool)
            finally:
                await running.end()
                spool.close()
                context.destroy(linger=0)

        asyncio.run(main())

    return run


def sent_as(running: Running, spool: Spool, is_wanted) -> None:
    lease = running.host.lease(spool)
    assert lease is not None
    work = Generate(1, lease, Sampling(max_tokens=1))
    running.host.upload(work, spool, is_wanted, running.host.send)


def test_the_host_reads_what_was_uploaded(with_host):
    async def use(running, spool):
        sent_as(running, spool, lambda: True)
        spool.close()  # the copy has a descriptor of its own
        assert (await running.until(Accepted)).prompt_tokens > 1000

    with_host(use)


def test_what_nobody_wants_any_more_is_not_sent_and_its_room_is_free_again(with_host):
    async def use(running, spool):
        sent_as(running, spool, lambda: False)
        await running.until(Release)
        assert running.host.arena.leased_bytes == 0
        assert running.messages.empty()

    with_host(use)


def test_an_upload_that_cannot_be_copied_fails_its_request_alone(with_host):
    async def use(running, spool):
        short = SimpleNamespace(fd=spool.fd)
        lease = running.host.arena.lease(len(spool) + 1)
        running.host.upload(Generate(1, lease, Sampling()), short, lambda: True, running.host.send)
        assert "could not be handed" in (await running.until(Failed)).error.message
        await running.until(Release)
        assert running.host.arena.leased_bytes == 0
        sent_as(running, spool, lambda: True)
        await running.until(Accepted)

    with_host(use)


def test_a_host_that_dies_during_the_copy_is_buried_in_peace(with_host):
    async def use(running, spool):
        sent_as(running, spool, lambda: True)
        await running.end()

    with_host(use)
