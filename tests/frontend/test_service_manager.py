"""What the service manager passes to the server, and what it is told."""

import asyncio
import socket
import subprocess
import sys

import pytest

from frontend.service_manager import ServiceManager, address_of, inherited

PID = 42


def told(environ, **moments):
    messages: list[bytes] = []

    async def live() -> ServiceManager:
        manager = ServiceManager(environ, PID, lambda _address, message: messages.append(message))
        manager.ready()
        while len(messages) < moments.get("wait", 1) and moments.get("wait"):
            await asyncio.sleep(0)
        manager.reloading()
        manager.ready()
        manager.stopping()
        manager.close()
        return manager

    asyncio.run(live())
    return messages


def test_nothing_is_told_to_nobody():
    assert told({}) == []


def test_states_are_told_and_the_variables_are_not_inherited():
    environ = {"NOTIFY_SOCKET": "/run/notify", "PATH": "/bin"}
    ready, reloading, again, stopping = told(environ)
    assert (ready, again, stopping) == (b"READY=1", b"READY=1", b"STOPPING=1")
    assert reloading.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert environ == {"PATH": "/bin"}


def test_the_watchdog_hears_as_long_as_the_event_loop_turns():
    environ = {"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "3000", "WATCHDOG_PID": str(PID)}
    messages = told(environ, wait=4)
    assert messages[:4] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


@pytest.mark.parametrize(
    "variables",
    [
        {"WATCHDOG_PID": "7", "WATCHDOG_USEC": "1000"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "²"},
        {"WATCHDOG_USEC": "9" * 5000},
    ],
)
def test_a_watchdog_of_somebody_else_hears_nothing(variables):
    assert b"WATCHDOG=1" not in told({"NOTIFY_SOCKET": "/run/notify", **variables})


def test_a_period_that_nobody_can_keep_leaves_the_event_loop_time():
    async def live() -> float:
        loop = asyncio.get_running_loop()
        manager = ServiceManager({"NOTIFY_SOCKET": "@", "WATCHDOG_USEC": "1"}, PID, lambda *_: None)
        delays: list[float] = []
        loop.call_later = lambda seconds, *_: delays.append(seconds)  # type: ignore[method-assign, assignment]
        manager.ready()
        return delays[0]

    assert asyncio.run(live()) >= 0.001


def test_messages_reach_a_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")}, PID).stopping()
        assert receiver.recv(100) == b"STOPPING=1"
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")}, PID).stopping()  # nobody listens any more


def test_sockets_for_another_process_are_left_alone():
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    assert inherited(environ, PID) == []
    assert environ == {}
    assert inherited({}, PID) == []


@pytest.mark.parametrize("count", ["²", "-1", "", "9" * 5000])
def test_a_number_of_sockets_that_is_none_counts_as_none(count):
    assert inherited({"LISTEN_PID": str(PID), "LISTEN_FDS": count}, PID) == []


def test_the_rules_of_access_follow_from_the_most_open_socket():
    with socket.socket() as here, socket.socket() as everywhere:
        here.bind(("127.0.0.1", 0))
        everywhere.bind(("0.0.0.0", 0))
        assert address_of([here])[0] == "127.0.0.1"
        assert address_of([here, everywhere])[0] == "0.0.0.0"


TAKES = """
import os, socket, sys
from frontend.service_manager import inherited
from frontend.config import ConfigError
os.dup2(int(sys.argv[1]), 3)
os.closerange(4, 256)
try:
    (one,) = inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[2]}, os.getpid())
except ConfigError as error:
    print(error)
else:
    print(one.getsockname()[1], one.get_inheritable())
"""


@pytest.mark.parametrize(
    ("family", "count"), [(socket.AF_INET, "1"), (socket.AF_UNIX, "1"), (socket.AF_INET, "2")]
)
def test_a_socket_of_tcp_is_taken_over(family, count, tmp_path):
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "socket"))
        listener.listen()
        result = subprocess.run(
            [sys.executable, "-c", TAKES, str(listener.fileno()), count],
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
        )
        expected = f"{listener.getsockname()[1]} False" if family == socket.AF_INET else "not of TCP"
        expected = expected if count == "1" else "LISTEN_FDS: socket activation announced 2 sockets"
        assert expected in result.stdout, result.stderr
