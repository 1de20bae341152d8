"""HTTP sessions with servers that the operator named. Imports aiohttp, so import it late."""

import aiohttp
from yarl import URL

from frontend.remote.backend import Backend

CONNECT_SECONDS = 5.0


def client_session(backend: Backend) -> aiohttp.ClientSession:
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
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS),
        middlewares=(only_there,),
    )
