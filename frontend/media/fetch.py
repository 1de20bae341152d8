"""Fetches images over HTTP, from vetted addresses only. Imports aiohttp, so import it late."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from frontend.media.addresses import may_be_fetched_from
from frontend.media.given import MAX_FETCHES, FetchRules, ImageRefused, Media, check_size
from frontend.media.targets import NOT_PUBLIC, redirected, target_of

_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_UNTYPED = ("application/octet-stream", "binary/octet-stream")  # as storage services send it
_HEADERS = {"User-Agent": "nacelle", "Accept": "image/*", "Accept-Encoding": "identity"}

# A lookup cannot be interrupted: one that hangs must not hold a thread that other work needs.
_lookups = ThreadPoolExecutor(MAX_FETCHES, "resolve")

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


async def fetch(url: str, rules: FetchRules) -> Media:
    """The image at an http(s) URL. Raises ImageRefused; takes at most `rules.seconds`."""
    target = target_of(url, rules)
    try:
        async with asyncio.timeout(rules.seconds):
            return await _fetch(target, rules)
    except TimeoutError:
        raise ImageRefused(f"could not be fetched within {rules.seconds:g} seconds") from None
    except (ssl.SSLError, aiohttp.ClientSSLError):
        raise ImageRefused("could not be fetched: there is no trusted TLS connection to its server") from None
    except (aiohttp.ClientError, OSError, ValueError):  # whose messages may name addresses
        raise ImageRefused("could not be fetched: its server cannot be reached or answers wrongly") from None


async def _fetch(target: URL, rules: FetchRules) -> Media:
    async with _session(rules) as session:
        for _ in range(_MAX_REDIRECTS + 1):
            async with session.get(target, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await _read(response, rules.max_bytes)
                location = response.headers.get("Location")
            if location is None:
                raise ImageRefused("could not be fetched: its server redirects to nowhere")
            target = redirected(target, location, rules)
    raise ImageRefused(f"could not be fetched: its server redirects more than {_MAX_REDIRECTS} times")


@contextlib.asynccontextmanager
async def _session(rules: FetchRules) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for one image: no cookies, no proxies or credentials of the environment, no reuse."""

    def vetted_socket(info: AddrInfo) -> socket.socket:
        """Vet what is about to be connected to, whatever way it was found."""
        family, kind, protocol, _, address = info
        if not may_be_fetched_from(str(address[0]), rules.allow_private):
            raise OSError("not a public address")
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        resolver=_VettingResolver(rules.allow_private),
        use_dns_cache=False,
        force_close=True,
        socket_factory=vetted_socket,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        yield session


class _VettingResolver(AbstractResolver):
    """Resolves a name once. The connection is made to an address that was vetted, not to the name."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            _lookups, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        addresses = [(kind, str(address[0])) for kind, _, _, _, address in found]
        if not all(may_be_fetched_from(address, self._allow_private) for _, address in addresses):
            raise ImageRefused(NOT_PUBLIC)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
            )
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> Media:
    if response.status != 200:
        raise ImageRefused(f"could not be fetched: its server answers with status {response.status}")
    media_type = _image_type(response.headers.getall("Content-Type", []))
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise ImageRefused("could not be fetched: its server compresses the file again")
    check_size(response.content_length or 0, max_bytes)
    size, parts = 0, []
    async for part in response.content.iter_any():
        size += len(part)
        check_size(size, max_bytes)
        parts.append(part)
    if not size:
        raise ImageRefused("leads to an empty file")
    return Media(media_type, b"".join(parts))


def _image_type(stated: Sequence[str]) -> str:
    """The media type of the first header, without parameters. What states none may still be an image."""
    media_type = stated[0].partition(";")[0].strip().lower() if stated else _UNTYPED[0]
    if not media_type.startswith("image/") and media_type not in _UNTYPED:
        raise ImageRefused("does not lead to an image, by the Content-Type of its server")
    return media_type
