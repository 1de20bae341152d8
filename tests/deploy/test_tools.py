"""The files in deploy/ as the programs see them that use them. Opt-in: these programs must be installed."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.serving import wait_for

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
pytestmark = pytest.mark.deployment


def passes(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize("example", [True, False])
def test_docker_compose_understands_the_compose_file(example):
    options: list[str | Path] = ["--env-file", DEPLOY / "docker" / ".env.example"] if example else []
    shown = passes("docker-compose", *options, "-f", DEPLOY / "docker" / "docker-compose.yml", "config")
    assert "nacelle:" in shown


def test_systemd_understands_the_units():
    units = [DEPLOY / "systemd" / name for name in ("nacelle.service", "nacelle.socket")]
    assert passes("systemd-analyze", "verify", *units) == ""


@pytest.mark.parametrize("name", ["nacelle.yaml", "endpoint-picker.yaml"])
def test_kubernetes_accepts_the_manifests(name):
    shown = passes("kubernetes-validate", "--strict", DEPLOY / "kubernetes" / name)
    assert "WARN" not in shown
    assert "INFO" in shown


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(30)
        yield receiver


def test_a_socket_is_taken_over_and_the_manager_is_told(notifications, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "300000",
        "XDG_DATA_HOME": str(tmp_path),
    }
    passed = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "XDG_DATA_HOME") if name in environment]
    passed += [f"--setenv={name}" for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC")]
    command = [sys.executable, "-m", "frontend.cli", "serve", "synthetic:100", "--name", "m"]
    server = subprocess.Popen(
        ["systemd-socket-activate", "-l", address, *passed, "--", *command], env=environment
    )
    try:
        wait_for(lambda: answers(f"http://{address}/ready"), "an answer at the socket")
        received = [notifications.recv(1000) for _ in range(4)]
        assert received[0] == b"READY=1"
        assert set(received[1:]) == {b"WATCHDOG=1"}
    finally:
        server.terminate()
        server.wait(30)
    last = b""
    while last != b"STOPPING=1":
        last = notifications.recv(1000)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=20).status_code == 200
    except httpx.HTTPError:
        return False
