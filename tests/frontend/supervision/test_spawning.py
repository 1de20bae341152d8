"""Spawning a host: nothing blocks, and what fails on the way leaves neither a process nor a descriptor."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import zmq

from frontend.supervision.incarnation import ArenaSizes, Ending, Incarnation
from ipc.channel import MAX_LAUNCH_BYTES, ChannelError, MessageTooLarge
from ipc.messages import Ready
from tests.host.harness import launch_of
from tests.huge_pages import in_huge_pages, kernel_gives_them

ARENAS = ArenaSizes(1024 * 1024, 1024 * 1024)


@pytest.fixture
def context():
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PAIR)  # the context opens descriptors with its first socket
    yield context
    socket.close(linger=0)
    context.destroy(linger=0)


def open_descriptors() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists() or path.is_symlink()}


def wait_for_descriptors(count: int) -> None:
    """ZeroMQ closes those of its sockets in a thread of its own."""
    deadline = time.monotonic() + 10
    while len(found := open_descriptors()) > count:
        gc.collect()
        assert time.monotonic() < deadline, f"{len(found)} descriptors are open, {count} were before"


@pytest.fixture
def new_children():
    """The children that this process has got since. Another test may have left it a resource tracker."""
    before = set(psutil.Process().children())
    return lambda: set(psutil.Process().children()) - before


async def spawn(context, folder, launch, on_messages=print, on_end=print) -> Incarnation:
    return Incarnation(launch, folder / "s", ARENAS, context, on_messages, on_end)


def asked_when_ready(folder, context, launch, ask):
    """The first message of a host, and what `ask` finds by its process id then."""

    async def run() -> object:
        ended = asyncio.get_running_loop().create_future()
        said = asyncio.get_running_loop().create_future()

        def on_messages(messages):
            if not said.done():
                said.set_result(messages[0])

        host = await spawn(context, folder, launch, on_messages, ended.set_result)
        first = await asyncio.wait_for(said, 60)
        found = ask(host.pid)
        host.signal(signal.SIGKILL)
        await asyncio.wait_for(ended, 60)
        return first, found

    return asyncio.run(run())


def test_a_large_chat_template_reaches_the_host(short_path, context):
    template = "{# " + "x" * 1_000_000 + " #}"
    launch = launch_of("nowhere", engine="synthetic", chat_template=template)
    first, _ = asked_when_ready(short_path, context, launch, lambda _: None)
    assert isinstance(first, Ready)


def test_a_ready_host_uses_huge_pages_where_the_kernel_gives_them(short_path, context):
    launch = launch_of("nowhere", engine="synthetic")
    _, (variables, size) = asked_when_ready(
        short_path, context, launch, lambda pid: (psutil.Process(pid).environ(), in_huge_pages(pid))
    )
    assert "glibc.malloc.hugetlb=1" in variables["GLIBC_TUNABLES"]
    assert size > 0 or not kernel_gives_them()


def test_a_spawn_waits_for_no_host_to_read(short_path, context, monkeypatch):
    deaf = short_path / "python"
    deaf.write_text("#!/bin/sh\nexec sleep 60\n")
    deaf.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(deaf))
    launch = launch_of("nowhere", engine="synthetic", chat_template="x" * 1_000_000)

    async def run() -> Ending:
        ended = asyncio.get_running_loop().create_future()
        host = await spawn(context, short_path, launch, on_end=ended.set_result)  # this would never return
        host.signal(signal.SIGKILL)
        return await asyncio.wait_for(ended, 60)

    assert asyncio.run(run()).status == -signal.SIGKILL


def test_a_launch_message_that_no_host_would_read_starts_none(short_path, context, new_children):
    launch = launch_of("nowhere", engine="synthetic", chat_template="x" * MAX_LAUNCH_BYTES)
    before = open_descriptors()

    async def run():
        with pytest.raises(MessageTooLarge, match="the settings of under-test take"):
            await spawn(context, short_path, launch)

    asyncio.run(run())
    assert not new_children()
    wait_for_descriptors(len(before))


@pytest.mark.parametrize("call", ["pidfd_open", "set_blocking"])
def test_a_failure_after_the_spawn_ends_the_host(short_path, context, new_children, monkeypatch, call):
    def fails(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    before = open_descriptors()

    async def run():
        monkeypatch.setattr(os, call, fails)
        with pytest.raises(OSError, match="Too many open files"):
            await spawn(context, short_path, launch_of("nowhere", engine="synthetic"))
        monkeypatch.undo()

    asyncio.run(run())
    assert not new_children()
    wait_for_descriptors(len(before))


def test_running_out_of_descriptors_at_any_point_leaves_nothing_behind(short_path, context, new_children):
    launch = launch_of("nowhere", engine="synthetic")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def run() -> int:
        failures = 0
        before = len(open_descriptors())
        lowest = min(set(range(1000)) - open_descriptors())
        for limit in range(lowest, lowest + 100):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            host = None
            with contextlib.suppress(OSError, ChannelError):
                host = await spawn(context, short_path, launch)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            if host is None:
                failures += 1
                assert not new_children()
                wait_for_descriptors(before)
                continue
            ended = asyncio.get_running_loop().create_future()
            host._on_end = ended.set_result
            host.signal(signal.SIGKILL)
            await asyncio.wait_for(ended, 60)
            return failures
        raise AssertionError("it never worked")

    try:
        assert asyncio.run(run()) > 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
