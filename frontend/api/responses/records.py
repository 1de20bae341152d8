"""Stored responses: their records, and how a record changes."""

import itertools
import re
from collections.abc import Callable, Sequence

import msgspec

from frontend.api.body import LARGE_BYTES
from frontend.api.generating import off_loop
from frontend.api.responses.foreign import data_characters
from frontend.api.responses.outputs import NewId
from frontend.api.schema.common import MANY_MESSAGES
from frontend.api.schema.response_items import ForeignItem, InputImage, Item, MessageItem, OutcomeItem
from frontend.api.schema.responses import ResponseBody, ResponseError
from frontend.errors import NotFound, RequestTooLarge, StoreUnavailable
from frontend.media.given import Media
from frontend.sessions.codec import Codec
from frontend.sessions.owners import owned_key
from frontend.sessions.store import Store
from frontend.shortened import quoted

_MAX_RACES = 10  # consecutive lost updates before giving up

# Increase it when Record changes such that stored records no longer decode, or change their meaning, and add
# a reader for the old layout. A test holds a record of each version.
VERSION = 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A response with the whole conversation before it, so that it does not depend on earlier responses."""

    response: ResponseBody
    input: list[Item]  # the conversation before the output, without instructions
    fetched: dict[str, Media] = {}  # the images of the input that were fetched, by URL
    deadline: float = 0.0  # Unix seconds; past it, the server of an unfinished background response is gone

    @property
    def conversation(self) -> list[Item]:
        return [*self.input, *self.response.output]


# JSON, because a tool's schema may hold integers beyond the 64 bits of MessagePack.
_codec: Codec[Record] = Codec(
    "response", VERSION, msgspec.json.encode, {1: msgspec.json.Decoder(Record).decode}
)


class Records:
    """Those of whoever asks: another caller's are not there.

    All methods raise StoreUnavailable; those that write also raise RequestTooLarge.

    A record that cannot be decoded counts as absent: damaged, or of a version that this server does not know.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def check_images(self, record: Record) -> None:
        """Raise RequestTooLarge for a record whose images alone exceed the limit, before there is an answer
        to be lost."""
        limit = self._store.limits.max_value_bytes
        if image_bytes(record) > limit:
            raise RequestTooLarge(
                "the images of this conversation are too large for the session store, in which an entry may "
                f"use at most {limit} bytes; send smaller images, or set store to false"
            )

    async def save(self, record: Record) -> None:
        await self._store.put(_key(record.response.id), await _encoded(record))

    async def load(self, response_id: str) -> Record | None:
        return await _decoded(response_id, await self._store.get(_key(response_id)))

    async def find(self, response_id: str) -> Record:
        """Raises NotFound."""
        record = await self.load(response_id)
        if record is None:
            raise not_found(response_id)
        return record

    async def update(self, response_id: str, change: Callable[[Record], Record | None]) -> Record | None:
        """Atomically replace the record by `change(record)`, unless that is None.

        Returns the record that is stored afterwards, or None if there is none.
        """
        for _ in range(_MAX_RACES):
            old = await self._store.get(_key(response_id))
            record = await _decoded(response_id, old)
            if record is None or (changed := change(record)) is None:
                return record
            if await self._store.replace(_key(response_id), old, await _encoded(changed)):
                return changed
        raise StoreUnavailable("the stored response keeps changing", retry_after=1)

    async def delete(self, response_id: str) -> None:
        """Remove the record, readable or not. Raises NotFound."""
        if not await self._store.delete(_key(response_id)):
            raise not_found(response_id)


def item_ids(response_id: str) -> NewId:
    """Makes ids for the output items of a response, from which `response_id_of` finds the response."""
    number = itertools.count()
    own = response_id.rpartition("_")[2]
    return lambda prefix: f"{prefix}_{own}-{next(number)}"


def response_id_of(item_id: str) -> str | None:
    """The id of the response that produced an item; None for an id that this server did not make."""
    found = re.fullmatch(r"[a-z]+_([0-9a-f]{32})-[0-9]+", item_id)
    return f"resp_{found[1]}" if found else None


def image_bytes(record: Record) -> int:
    """What images take in a record, at least."""
    urls = sum(map(_image_characters, record.input))
    return urls + sum(len(media.payload) * 4 // 3 for media in record.fetched.values())


def _image_characters(item: Item) -> int:
    if isinstance(item, ForeignItem):
        return data_characters(item.body)
    parts: Sequence[object] = ()
    if isinstance(item, MessageItem):
        parts = item.content
    elif isinstance(item, OutcomeItem):
        parts = item.output
    return sum(len(part.image_url) for part in parts if isinstance(part, InputImage))


def not_found(response_id: str) -> NotFound:
    return NotFound(f"there is no response {quoted(response_id)}; it may have expired", "response_id")


def is_live(response: ResponseBody) -> bool:
    return response.status in ("queued", "in_progress")


def as_of(record: Record, now: float) -> ResponseBody:
    """The response at `now`, in Unix seconds, if no task of this server is generating it.

    Another server may be generating it, but only until its deadline: past that, it counts as failed.
    """
    response = record.response
    if not is_live(response) or now <= record.deadline:
        return response
    return failed(response, "the server stopped while it was generating this response")


def failed(response: ResponseBody, why: str) -> ResponseBody:
    return msgspec.structs.replace(response, status="failed", error=ResponseError("server_error", why))


def _key(response_id: str) -> str:
    return owned_key("response", response_id)


async def _encoded(record: Record) -> bytes:
    is_large = len(record.input) > MANY_MESSAGES or image_bytes(record) > LARGE_BYTES
    return await off_loop(is_large, _codec.encode, record)


async def _decoded(response_id: str, data: bytes | None) -> Record | None:
    """A thread, where there is much to decode, gives others their turn between two records."""
    if data is None:
        return None
    return await off_loop(len(data) > LARGE_BYTES, _codec.decode, _key(response_id), data)
