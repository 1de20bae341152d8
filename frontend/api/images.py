"""The images of a request: whether its model takes them, and how their parts get their bytes."""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence

import falcon.asgi

from frontend.api.abilities import text_card
from frontend.api.client import while_there
from frontend.api.prompting import TurnSpec
from frontend.api.served import model_of
from frontend.config import Settings
from frontend.errors import BadRequest, HostRefused
from frontend.media.given import GivenImage, ImageRefused, Media
from frontend.media.loader import Loader
from frontend.routing.router import Model, Router
from ipc.messages import MediaPart, TextCard

_OF_IMAGE = re.compile(r"(?:messages: )?image ([0-9]{1,9})\b(.*)", re.DOTALL)


class Images:
    """Obtains the images of requests."""

    def __init__(self, settings: Settings, router: Router) -> None:
        """Raises ConfigError."""
        self._router = router
        self._loader = Loader(settings)
        self._max_images = settings.max_images
        self._max_total_bytes = settings.arena_bytes  # which they cross at once

    def body_bytes(self) -> int:
        """What images may add to the size of a body, while they may be for a model that takes them."""
        cards = [route.last_card for route in self._router.routes.values()]
        if not any(card is None or (isinstance(card, TextCard) and card.takes_images) for card in cards):
            return 0
        return min(self._max_total_bytes, self._max_images * self._loader.rules.max_bytes) * 4 // 3

    async def fill(
        self,
        spec: TurnSpec,
        request: falcon.asgi.Request | None,
        known: Mapping[str, Media] | None = None,
    ) -> dict[str, Media]:
        """Give the images of a turn their bytes. Returns those that were fetched, by URL.

        `known` has images that were fetched for earlier turns. Raises as `Router.model`, BadRequest naming
        the image, Overloaded or ClientGone.
        """
        images = spec.images
        if not images:
            return {}
        self._check(await model_of(self._router, spec.model, request, spec.variant_key), images)
        wanted = {image.url: image for image in reversed(images)}  # a URL that occurs twice is loaded once
        found = {url: media for url, media in (known or {}).items() if url in wanted}
        missing = [image for url, image in wanted.items() if url not in found]
        found |= await while_there(self._load_all(missing), request)
        room = _Room(self._max_total_bytes)
        for image in images:
            room.take(found[image.url], image)
            image.fill(found[image.url])
        return {url: media for url, media in found.items() if url[:4].lower() == "http"}

    def _check(self, model: Model, images: Sequence[GivenImage]) -> None:
        if not takes_images(model):
            raise _takes_none(model, images[0].where)
        if len(images) > self._max_images:
            where = images[self._max_images].where
            raise BadRequest(
                f"{where}: a request may have at most {self._max_images} images (setting max_images)", where
            )

    async def _load_all(self, images: Sequence[GivenImage]) -> dict[str, Media]:
        """All at the same time; the first that cannot be had ends the others."""
        room = _Room(self._max_total_bytes)
        tasks = [asyncio.create_task(self._load(image, room)) for image in images]
        try:
            loaded = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return {image.url: media for image, media in zip(images, loaded, strict=True)}

    async def _load(self, image: GivenImage, room: "_Room") -> Media:
        try:
            media = await self._loader.load(image.url)
        except ImageRefused as error:
            raise BadRequest(f"{image.field}: {image.subject} {error}", image.field) from None
        room.take(media, image)
        return media


class _Room:
    """For the images of one request together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes

    def take(self, media: Media, image: GivenImage) -> None:
        """Raises BadRequest naming the image for which there is none left."""
        self._left -= len(media.payload)
        if self._left < 0:
            raise BadRequest(
                f"{image.where}: the images of a request may have at most {self._max_bytes} bytes together "
                "(setting arena_bytes)",
                image.where,
            )


def takes_images(model: Model) -> bool:
    """Raises BadRequest for a model that does not generate text."""
    return text_card(model).takes_images


def check_taken(model: Model, spec: TurnSpec) -> None:
    """Raise BadRequest for images that the model does not take, those of earlier turns included."""
    if not takes_images(model) and (places := _places(spec)):
        raise _takes_none(model, places[0])


def _takes_none(model: Model, where: str) -> BadRequest:
    return BadRequest(f"{where}: the model {model.name!r} takes only text", where)


@contextlib.contextmanager
def naming_images(spec: TurnSpec) -> Iterator[None]:
    """Name an image that a host rejects by its place in the request. Hosts count a prompt's images from 1."""
    try:
        yield
    except HostRefused as error:
        found = _OF_IMAGE.match(error.message)
        places = _places(spec) if found else []
        if found and 1 <= int(found[1]) <= len(places):
            error.param = places[int(found[1]) - 1]
            error.message = f"{error.param}: the image{found[2]}"
        raise


def _places(spec: TurnSpec) -> list[str]:
    """The fields of the request that hold the images of its messages.

    Images that the request itself does not hold come first; they are of the conversation that it continues.
    """
    own = [image.where for image in spec.images]
    images = sum(
        isinstance(part, MediaPart)
        for message in spec.messages
        if isinstance(message.content, list)
        for part in message.content
    )
    return ["session_id"] * (images - len(own)) + own
