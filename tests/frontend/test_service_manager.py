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
    "variables", [{"WATCHDOG_PID": "7", "WATCHDOG_USEC": "1000"}, {"WATCHDOG_USEC": "x"}]
)
def test_a_watchdog_of_somebody_else_hears_nothing(variables):
    assert b"WATCHDOG=1" not in told({"NOTIFY_SOCKET": "/run/notify", **variables})


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
try:
    (one,) = inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}, os.getpid())
except ConfigError as error:
    print(error)
else:
    print(one.getsockname()[1], one.get_inheritable())
"""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_socket_of_tcp_is_taken_over(family, tmp_path):
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "socket"))
        listener.listen()
        result = subprocess.run(
            [sys.executable, "-c", TAKES, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
        )
        expected = f"{listener.getsockname()[1]} False" if family == socket.AF_INET else "not of TCP"
        assert expected in result.stdout, result.stderr
