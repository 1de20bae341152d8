"""Who listens on a port that the server would use."""

import errno
from typing import Literal

import psutil

from frontend.doctor.facts import PortFacts
from frontend.http.server import listen

IN_USE = "in use"


def port_facts(host: str, port: int, use: Literal["server", "ollama"]) -> PortFacts:
    """Listens for a moment. Port 0 is always free."""
    try:
        listen(host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return PortFacts(number=port, use=use, error=error.strerror or str(error))
        name, pid = _holder(port)
        return PortFacts(number=port, use=use, error=IN_USE, holder=name, pid=pid)
    except UnicodeError:
        return PortFacts(number=port, use=use, error=f"{host} is not a host name")
    return PortFacts(number=port, use=use)


def _holder(port: int) -> tuple[str, int]:
    """The name and id of the process that listens; empty and 0 where this user may not know."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return "", 0
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.pid:
            continue
        if [*connection.laddr][1:2] == [port]:  # an address and a port
            return _name(connection.pid), connection.pid
    return "", 0


def _name(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        is_ours = any(word.endswith("/nacelle") for word in words[:2]) or "frontend.cli" in words[:4]
        return "nacelle" if is_ours else process.name()
    except psutil.Error:
        return "a process"
