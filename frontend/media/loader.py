"""From the URL of an image to its bytes, within the server's settings."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from importlib import import_module

from frontend.config import Settings
from frontend.errors import Overloaded
from frontend.media.data_url import decode_data_url, is_data_url
from frontend.media.domains import normalized_domains
from frontend.media.given import MAX_FETCHES, FetchRules, ImageRefused, Media

_LONG_CHARACTERS = 64 * 1024  # a longer data URL is decoded in a thread
_HTTP = re.compile(r"\s*https?://([a-z0-9.-]{0,253})", re.IGNORECASE)


class Loader:
    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for a domain that no URL can have."""
        self.rules = FetchRules(
            domains=normalized_domains(settings.allowed_media_domains),
            allow_private=settings.allow_private_media,
            max_bytes=settings.max_image_bytes,
            seconds=settings.media_fetch_seconds,
        )
        self._fetches = asyncio.Semaphore(MAX_FETCHES)

    async def load(self, url: str) -> Media:
        """Raises ImageRefused, or Overloaded if too many images are being fetched for too long."""
        if is_data_url(url):
            if len(url) > _LONG_CHARACTERS:
                return await asyncio.to_thread(decode_data_url, url, self.rules.max_bytes)
            return decode_data_url(url, self.rules.max_bytes)
        self._check_fetchable(url)
        async with self._turn():
            await asyncio.to_thread(import_module, "frontend.media.fetch")  # aiohttp takes long to import
            from frontend.media.fetch import fetch

            return await fetch(url, self.rules)

    def _check_fetchable(self, url: str) -> None:
        found = _HTTP.match(url)
        if found is None:
            raise ImageRefused("must begin with data:, http:// or https://")
        if not self.rules.domains:
            raise ImageRefused(
                "is not fetched by this server; send a data URL, or start the server with "
                f"--allowed-media-domain {found[1] or 'DOMAIN'}"
            )

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.rules.seconds):
                await self._fetches.acquire()
        except TimeoutError:
            raise Overloaded("too many images are being fetched", retry_after=1) from None
        try:
            yield
        finally:
            self._fetches.release()
