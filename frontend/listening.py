"""The ports on which a server listens, and why it cannot."""

import errno
import socket
from collections.abc import Collection

from frontend.config import ConfigError, Settings
from frontend.doctor.ports import NACELLE, holder_of
from frontend.http.server import listen

_REMEDIES = {
    errno.EADDRINUSE: "stop what uses it, or choose another port with {option}",
    errno.EACCES: "choose a port from 1024 on with {option}",
}


def ports_of(settings: Settings) -> list[tuple[int, str]]:
    """Where to listen, each port with the option that chooses it."""
    ollama = [] if settings.ollama_port is None else [(settings.ollama_port, "--ollama-port")]
    return [(settings.port, "--port"), *ollama]


def explain_listening(host: str, port: int, error: OSError | UnicodeError, option: str = "--port") -> str:
    """Why the server cannot listen, and which option helps."""
    if not isinstance(error, OSError):  # the codec of host names has no better words
        return f"cannot listen on {host} port {port}: this is not a host name; choose an address with --host"
    remedy = _REMEDIES.get(error.errno or 0, "choose an address of this machine with --host")
    if error.errno == errno.EADDRINUSE and (holder := holder_of(port))[1]:
        name, pid = holder
        how = "end it (nacelle stop --server if it runs in the background)" if name == NACELLE else "stop it"
        what = "a Nacelle server" if name == NACELLE else name
        remedy = f"{what} (process {pid}) uses it: {how}, or choose another port with {{option}}"
    return f"cannot listen on {host} port {port}: {error.strerror or error}; {remedy.format(option=option)}"


def open_ports(settings: Settings, opened: Collection[int] = ()) -> list[socket.socket]:
    """Listen on all ports but those that are `opened` already. Raises ConfigError."""
    listeners = []
    for port, option in ports_of(settings):
        if port in opened:
            continue
        try:
            listeners.append(listen(settings.host, port))
        except (OSError, UnicodeError) as error:
            raise ConfigError(explain_listening(settings.host, port, error, option)) from error
    return listeners


def why_not(settings: Settings) -> str:
    """Why the server will not be able to listen; empty if it will, as things are now."""
    try:
        listeners = open_ports(settings)
    except ConfigError as error:
        return str(error)
    for listener in listeners:
        listener.close()
    return ""
