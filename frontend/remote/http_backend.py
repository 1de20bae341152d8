"""A server that is used through its OpenAI API: health checks and requests.

Imports aiohttp, so import it late.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp

from frontend.remote.backend import Backend
from frontend.remote.client import client_session, words_of

CHECK_SECONDS = 10.0  # between health checks
CHECK_TIMEOUT_SECONDS = 5.0
_ALLOWED_FAILURES = 1  # of checks in a row, of a server that answered before
_NO_LIST = (404, 405, 501)  # it answers, but has no list of models


log = logging.getLogger("nacelle.remote")


class HttpBackend:
    """Implements `host.Proxy`."""

    def __init__(
        self, backend: Backend, healthy: Callable[[], None], unhealthy: Callable[[str], None]
    ) -> None:
        self.backend = backend
        self.outstanding = 0  # requests
        self._healthy = healthy
        self._unhealthy = unhealthy
        self._session: aiohttp.ClientSession | None = None
        self._checking: asyncio.Task[None] | None = None
        self._doubt = asyncio.Event()
        self._done = asyncio.Event()  # no request is outstanding

    def start(self) -> None:
        if self._checking is None:
            self._checking = asyncio.create_task(self._check())

    def doubt(self) -> None:
        """A request could not reach it: check now."""
        self._doubt.set()

    def stop(self) -> None:
        """Check no longer. Requests go on."""
        if self._checking is not None:
            self._checking.cancel()
            self._checking = None

    async def close(self, seconds: float) -> None:
        """Once its requests have ended, or that time is over."""
        self.stop()
        if self.outstanding:
            self._done.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), seconds)
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def post(
        self, path: str, body: bytes, given: Mapping[str, str], seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """POST a JSON body to `path` below the API's URL, with the headers that are `given`; what a redirect
        leads to is not requested.

        Raises aiohttp.ClientError, OSError or TimeoutError; the response may, too, while it is read.
        """
        headers = {**given, "Content-Type": "application/json", "Accept-Encoding": "identity"}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CHECK_TIMEOUT_SECONDS)
        self.outstanding += 1
        try:
            async with self._opened().post(
                f"{self.backend.url}{path}",
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                yield response
        finally:
            self.outstanding -= 1
            if not self.outstanding:
                self._done.set()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = client_session(self.backend)
        return self._session

    async def _check(self) -> None:
        try:
            await self._check_until_ill()
        except Exception as error:  # whatever it is, it can be tried again
            log.exception("the health of %s cannot be checked", self.backend.name)
            self._checking = None
            self._unhealthy(words_of(error))

    async def _check_until_ill(self) -> None:
        failures = _ALLOWED_FAILURES  # of a server that has not answered yet, the first counts
        while True:
            reason = await self._ill()
            if reason is None:
                failures = 0
                self._healthy()
            else:
                failures += 1
                if failures > _ALLOWED_FAILURES:
                    self._checking = None
                    self._unhealthy(reason)
                    return
            self._doubt.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), CHECK_SECONDS)
                failures = _ALLOWED_FAILURES

    async def _ill(self) -> str | None:
        """Why the server cannot be used; None: it can."""
        timeout = aiohttp.ClientTimeout(total=CHECK_TIMEOUT_SECONDS)
        try:
            async with self._opened().get(
                f"{self.backend.url}/models", timeout=timeout, allow_redirects=False
            ) as response:
                if response.status == 200 or response.status in _NO_LIST:
                    return None
                if response.status in (401, 403):
                    return f"it rejects the API key, or this server (status {response.status} for /models)"
                return f"it answers /models with status {response.status}"
        except TimeoutError:
            return f"it did not answer /models within {CHECK_TIMEOUT_SECONDS:g} seconds"
        except (aiohttp.ClientError, OSError) as error:
            return words_of(error)
