"""The listening socket and the HTTP server on it. Signals are handled elsewhere."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn

from frontend.http.asgi import Application
from frontend.http.protocol import HttpProtocol

_BACKLOG = 2048
# Longer than clients and proxies keep idle connections for reuse (httpx 5 s, nginx 60 s, Go 90 s): if the
# server closed first, a request could meet a closing socket.
_KEEP_ALIVE_SECONDS = 120

_DATE_SECONDS = 1.0  # how long a Date header is right

_WEBSOCKET_MESSAGE_BYTES = 4 * 1024**2  # more would hold up other clients while it is decoded
# While an application does not read, uvicorn reads no pong either.
_PONG_SECONDS = 120


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal that was caught."""

    def __init__(self, app: Application, graceful_seconds: float, tls: ssl.SSLContext | None = None) -> None:
        """With `tls`, it speaks HTTPS only."""
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http=HttpProtocol,
                ws="auto",
                ws_max_size=_WEBSOCKET_MESSAGE_BYTES,
                ws_ping_timeout=_PONG_SECONDS,
                ws_per_message_deflate=False,  # audio does not shrink
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(graceful_seconds)),
            )
        )
        self.config.load()
        self.config.ssl = tls
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Renew the Date header each second until told to stop. uvicorn's own loop looks ten times a second
        whether it is to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _DATE_SECONDS)

    def stop(self) -> None:
        """Accept no connections any more, and end `serve` when those that are open have ended."""
        self.should_exit = True
        self._stop.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
