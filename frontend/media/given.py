"""Images as a request names them, and as they are once their bytes are known."""

import msgspec

from ipc.messages import ContentPart, MediaPart, TextPart

MAX_FETCHES = 16  # at a time, of all requests


class ImageRefused(Exception):
    """An image cannot be had. The message is for the client, and goes on from the name of the URL's field."""


class Media(msgspec.Struct, frozen=True):
    """The bytes of an image, as they came."""

    media_type: str  # as whoever sent them stated it
    payload: bytes


class FetchRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be fetched."""

    domains: frozenset[str]  # as `domains.normalized_domains` makes them
    allow_private: bool
    max_bytes: int  # of one image
    seconds: float  # for one image, redirects included


class GivenImage(msgspec.Struct):
    """An image of a request, and the part of a message that is to carry it."""

    url: str  # data, http or https; empty once the bytes are known, as it may be long
    part: MediaPart  # without its bytes, until they are known
    where: str  # the request's field, such as messages[0].content[1]
    field: str  # that of the URL in it
    subject: str = "the URL"  # what the field holds, for errors

    def fill(self, media: Media) -> None:
        self.part.media_type = media.media_type
        self.part.payload = media.payload
        self.url = ""


class GivenImages:
    """Collects the images of a request, in their order."""

    def __init__(self) -> None:
        self.found: list[GivenImage] = []

    def part(
        self, url: str, detail: str | None, where: str, field: str, subject: str = "the URL"
    ) -> MediaPart:
        """The message part for one more image, whose bytes are to come."""
        # OpenAI's "original" asks for no less than "high".
        url = url.strip()
        part = MediaPart("", b"", "high" if detail == "original" else detail or "auto")
        self.found.append(GivenImage(url, part, where, field, subject))
        return part


def check_size(size: int, max_bytes: int) -> None:
    """Raises ImageRefused."""
    if size > max_bytes:
        raise ImageRefused(f"leads to an image of more than {max_bytes} bytes (setting max_image_bytes)")


def joined_text(parts: list[ContentPart]) -> str | list[ContentPart]:
    """Parts as a message's content: one text, where there is nothing but text."""
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return "\n".join(texts) if len(texts) == len(parts) else parts
