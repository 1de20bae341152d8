"""systemd: sockets that it has opened for the server, and what it is told of the server's state.

Both are protocols of environment variables; without these, nothing happens.
"""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Callable, MutableMapping, Sequence

from frontend.config import ConfigError

_FIRST_FD = 3  # of the descriptors that are passed
_BEATS = 3  # per period of the watchdog
_MIN_SECONDS = 0.001  # between two of them: a period that nobody can keep must not fill the event loop
_NUMBER = re.compile(r"[0-9]{1,20}")


def inherited(environ: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The listening sockets that were opened for the process `pid`. The variables are removed.

    Raises ConfigError for sockets that are not of TCP.
    """
    meant_for, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(pid) or not _is_number(count):
        return []
    try:
        sockets = [socket.socket(fileno=fd) for fd in range(_FIRST_FD, _FIRST_FD + int(count))]
        listening = [one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in sockets]
    except OSError as error:
        raise ConfigError(
            f"LISTEN_FDS: socket activation announced {count} sockets but passed others: "
            f"{error.strerror}; unset LISTEN_FDS to start without it"
        ) from error
    for one, is_listening in zip(sockets, listening, strict=True):
        if one.family not in (socket.AF_INET, socket.AF_INET6) or not is_listening:
            raise ConfigError("socket activation passed a socket that is not of TCP; use ListenStream=PORT")
        one.setblocking(False)
        one.set_inheritable(False)
    return sockets


def address_of(sockets: Sequence[socket.socket]) -> tuple[str, int]:
    """Where they listen: that which is open to most, since the rules of access follow from it."""
    found: list[tuple[str, int]] = [one.getsockname()[:2] for one in sockets]
    return next((one for one in found if not one[0].startswith(("127.", "::1"))), found[0])


class ServiceManager:
    """Sends the server's state, and a sign of life as long as the event loop turns."""

    def __init__(
        self,
        environ: MutableMapping[str, str],
        pid: int,
        send: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """`send(address, message)` is for tests. The variables are removed: hosts are to tell nothing."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        period, watched = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", str(pid))
        is_ours = _is_number(period) and int(period) > 0 and watched == str(pid)
        self._seconds = max(int(period) / 1e6 / _BEATS, _MIN_SECONDS) if is_ours else 0.0
        self._send = send or _send
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        self._tell("READY=1")
        if self._seconds and self._timer is None:
            self._beat()

    def reloading(self) -> None:
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The watchdog stays: a shutdown that hangs is to be noticed too."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._tell("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)

    def _tell(self, message: str) -> None:
        if self._address:
            self._send(self._address, message.encode())


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _send(address: str, message: bytes) -> None:
    """To a datagram socket; an address that begins with @ is abstract. A manager that is gone is no harm."""
    target = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(message, target)
