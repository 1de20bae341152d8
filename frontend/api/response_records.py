"""Stored responses: what is kept of each, and how it changes."""

import itertools
import logging
import re
from collections.abc import Callable

import msgspec

from frontend.api.response_outputs import NewId
from frontend.api.schema.response_items import Item
from frontend.api.schema.responses import ResponseBody, ResponseError
from frontend.errors import NotFound, StoreUnavailable
from frontend.sessions.store import Store

_RACES = 10  # lost in a row before giving up

log = logging.getLogger("nacelle.api")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A response with all that led to it, so that it does not depend on the responses before it."""

    response: ResponseBody
    input: list[Item]  # the whole conversation before the output, without instructions
    deadline: float = 0.0  # Unix seconds; a background response that runs past it has lost its server

    @property
    def conversation(self) -> list[Item]:
        return [*self.input, *self.response.output]


_encode = msgspec.msgpack.encode
_decoder = msgspec.msgpack.Decoder(Record)


class Records:
    """All methods raise StoreUnavailable; those that write, RequestTooLarge."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, record: Record) -> None:
        await self._store.put(_key(record.response.id), _encode(record))

    async def load(self, response_id: str) -> Record | None:
        data = await self._store.get(_key(response_id))
        return None if data is None else _decoded(response_id, data)

    async def find(self, response_id: str) -> Record:
        """Raises NotFound."""
        record = await self.load(response_id)
        if record is None:
            raise not_found(response_id)
        return record

    async def update(self, response_id: str, change: Callable[[Record], Record | None]) -> Record | None:
        """Put what `change` makes of the record, unless that is None. Returns the record as it is then.

        Whatever another server does at the same time comes before or after, never between.
        """
        for _ in range(_RACES):
            old = await self._store.get(_key(response_id))
            record = None if old is None else _decoded(response_id, old)
            if record is None or (changed := change(record)) is None:
                return record
            if await self._store.replace(_key(response_id), old, _encode(changed)):
                return changed
        raise StoreUnavailable("the stored response changes all the time", retry_after=1)

    async def delete(self, response_id: str) -> None:
        """Raises NotFound."""
        if not await self._store.delete(_key(response_id)):
            raise not_found(response_id)


def item_ids(response_id: str) -> NewId:
    """Makes ids for the items of a response's output. They tell which response that is."""
    number = itertools.count()
    own = response_id.rpartition("_")[2]
    return lambda prefix: f"{prefix}_{own}-{next(number)}"


def response_id_of(item_id: str) -> str | None:
    """The response in whose output an item came; None for an id that is none of ours."""
    found = re.fullmatch(r"[a-z]+_([0-9a-f]{32})-[0-9]+", item_id)
    return f"resp_{found[1]}" if found else None


def not_found(response_id: str) -> NotFound:
    return NotFound(f"there is no response {response_id!r}; it may have expired", "response_id")


def is_live(response: ResponseBody) -> bool:
    return response.status in ("queued", "in_progress")


def as_of(record: Record, now: float) -> ResponseBody:
    """A response that no task of this server works on, at `now` in Unix seconds.

    Another server may work on it, but only until its deadline: past that, its server is gone.
    """
    response = record.response
    if not is_live(response) or now <= record.deadline:
        return response
    return failed(response, "the server stopped while it was generating this response")


def failed(response: ResponseBody, why: str) -> ResponseBody:
    return msgspec.structs.replace(response, status="failed", error=ResponseError("server_error", why))


def _key(response_id: str) -> str:
    return f"response:{response_id}"


def _decoded(response_id: str, data: bytes) -> Record | None:
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:  # of another version of this server
        log.warning("cannot read the stored response %s: %s", response_id, error)
        return None
