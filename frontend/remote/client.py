"""HTTP sessions with servers that the operator named. Imports aiohttp, so import it late."""

import os

import aiohttp
from yarl import URL

from frontend.remote.backend import Backend

CONNECT_SECONDS = 5.0


def words_of(error: BaseException) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "there is no trusted TLS connection to it"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"it cannot be reached: {os.strerror(number) if number else error.os_error}"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "the connection broke"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error) or type(error).__name__


def client_session(backend: Backend, auto_decompress: bool = False) -> aiohttp.ClientSession:
    """A session that talks to the backend alone: a redirect elsewhere is refused. No cookies, and no proxies
    or credentials of the environment."""
    origin = URL(backend.url).origin()

    async def only_there(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.url.origin() != origin:
            raise aiohttp.ClientConnectionError("it redirects to another server")
        return await handler(request)

    return aiohttp.ClientSession(
        headers=backend.headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=auto_decompress,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS),
        middlewares=(only_there,),
    )
