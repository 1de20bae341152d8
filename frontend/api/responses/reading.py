"""What a request to the Responses API is about: its body, and the conversation that it continues."""

from typing import TypeVar

import falcon.asgi
import msgspec

from frontend.api.body import read_json
from frontend.api.generating import off_loop
from frontend.api.images import Images
from frontend.api.responses.background import Background
from frontend.api.responses.items import image_characters, references_of, whole_input
from frontend.api.responses.outputs import NewId
from frontend.api.responses.records import Records, response_id_of
from frontend.api.responses.request import check
from frontend.api.schema.response_items import Item
from frontend.api.schema.responses import ResponsesRequest
from frontend.errors import BadRequest
from frontend.media.given import Media

_MOST_LOOKUPS = 50  # of stored responses for one request; one is usual

BodyT = TypeVar("BodyT", bound=ResponsesRequest)


class Conversation(msgspec.Struct):
    """All items up to the question, and the images among them that were fetched before, by URL."""

    items: list[Item]
    known: dict[str, Media]


class RequestReader:
    def __init__(
        self, images: Images, records: Records, background: Background, new_id: NewId, max_body_bytes: int
    ) -> None:
        self._images = images
        self._records = records
        self._background = background
        self._new_id = new_id
        self._max_body_bytes = max_body_bytes

    async def read(
        self, request: falcon.asgi.Request, decoder: "msgspec.json.Decoder[BodyT]"
    ) -> tuple[BodyT, Conversation]:
        """Raises ServerError."""
        limit, extra = self._max_body_bytes, self._images.body_bytes()
        body, is_large = await read_json(request, limit, decoder, extra, lambda b: image_characters(b.input))
        check(body)
        known: dict[str, Media] = {}
        history = await self._history(body.previous_response_id, known)
        stored = await self._referred(references_of(body.input), history, known)
        items = await off_loop(is_large, whole_input, body.input, history, stored, self._new_id)
        return body, Conversation(items, known)

    async def _history(self, previous_id: str | None, known: dict[str, Media]) -> list[Item]:
        """The conversation up to the end of the previous response. Its fetched images are added to `known`.

        Raises BadRequest.
        """
        if previous_id is None:
            return []
        where = "previous_response_id"
        record = await self._records.load(previous_id)
        if record is None:
            error = BadRequest(f"{where}: there is no response {previous_id!r}; it may have expired", where)
            error.code = "previous_response_not_found"
            raise error
        current = self._background.current(record)  # of which the last is perhaps not stored yet
        if current.status not in ("completed", "incomplete"):
            raise BadRequest(f"{where}: the response {previous_id!r} is {current.status}", where)
        known |= record.fetched
        return [*record.input, *current.output]

    async def _referred(
        self, references: list[str], history: list[Item], known: dict[str, Media]
    ) -> dict[str, Item]:
        """Stored items by their ids. The latest come first: with them those of their conversations.

        Their fetched images are added to `known`.
        """
        stored = {item.id: item for item in history}
        sought: set[str] = set()
        for item_id in reversed(references):
            response_id = response_id_of(item_id)
            if item_id in stored or response_id is None or response_id in sought:
                continue
            if len(sought) == _MOST_LOOKUPS:
                break
            sought.add(response_id)
            record = await self._records.load(response_id)
            if record is not None:
                stored |= {item.id: item for item in record.conversation}
                known |= record.fetched
        return stored
