"""Conversations that the server keeps for chat completions, by the client's session id.

A conversation has one turn at a time. A request that arrives during another turn of the same conversation
gets a 409, because an answer to it could not take that turn into account. Within this server, the conflict is
found before any work. Between servers that share a store, it is found at the end of the slower turn, which is
then not stored.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from frontend.errors import BadRequest, Conflict
from frontend.sessions.codec import Codec
from frontend.sessions.owners import owned_key
from frontend.sessions.store import Store
from ipc.messages import ChatMessage, ContentPart, MediaPart, TextPart

MAX_MESSAGES = 1000
MAX_BYTES = 1024**2

# Increase it when ChatMessage changes such that stored messages no longer decode, or change their meaning,
# and add a reader for the old layout. A test holds a record of each version.
VERSION = 1

_PARAM = "session_id"
_encode = msgspec.msgpack.encode
_codec: Codec[list[ChatMessage]] = Codec(
    "conversation", VERSION, _encode, {1: msgspec.msgpack.Decoder(list[ChatMessage]).decode}
)


class Conversations:
    def __init__(
        self, store: Store, turn_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`turn_seconds` is the maximum duration of a turn, after which the conversation is free again."""
        self._store = store
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._began: dict[str, float] = {}  # start of the running turn, by key of the store

    async def begin(self, session_id: str, messages: list[ChatMessage]) -> "SessionTurn":
        """Begin a turn that adds `messages` to the conversation. The caller closes it.

        Raises Conflict, StoreUnavailable, or BadRequest if the conversation would become too long.
        """
        now = self._clock()
        key = owned_key("conversation", session_id)
        if now < self._began.get(key, -self._turn_seconds) + self._turn_seconds:
            raise Conflict(f"{_PARAM}: another turn of this conversation is running", _PARAM, retry_after=1)
        self._began[key] = now
        turn = SessionTurn(self._store, key, lambda: self._end(key, now))
        try:
            await turn.load(messages)
        except BaseException:
            turn.close()
            raise
        return turn

    def _end(self, key: str, began: float) -> None:
        if self._began.get(key) == began:
            del self._began[key]


class SessionTurn:
    """One question and its answer. `messages` is the conversation up to and including the question."""

    def __init__(self, store: Store, key: str, close: Callable[[], None]) -> None:
        """`key`: where the store has the conversation."""
        self.messages: list[ChatMessage] = []
        self.close = close  # ends the turn, so that the next one can begin
        self._store = store
        self._key = key
        self._stored: bytes | None = None

    async def load(self, question: list[ChatMessage]) -> None:
        """Read the conversation; one that cannot be decoded starts afresh.

        Raises StoreUnavailable, or BadRequest if the conversation would become too long.
        """
        self._stored = await self._store.get(self._key)
        earlier = None if self._stored is None else _codec.decode(self._key, self._stored)
        self.messages = [*(earlier or []), *question]
        size, media = len(_encode(self.messages)), _media_bytes(self.messages)
        if len(self.messages) >= MAX_MESSAGES or size - media > MAX_BYTES:
            raise BadRequest(
                f"{_PARAM}: a conversation is limited to {MAX_MESSAGES} messages and {MAX_BYTES} bytes; "
                "start a new one",
                _PARAM,
            )
        limit = self._store.limits.max_value_bytes
        if media and size > limit:
            raise BadRequest(
                f"{_PARAM}: a conversation is limited to {limit} bytes, images included; start a new one",
                _PARAM,
            )

    async def keep(self, answer: ChatMessage, goes_on: bool = False) -> None:
        """Store the question and its answer. With `goes_on`, the answer continues the last message.

        Raises Conflict if another server stored a turn first, StoreUnavailable or RequestTooLarge.
        """
        kept = list(self.messages)
        if goes_on:
            answer = msgspec.structs.replace(answer, content=_continued(kept.pop().content, answer.text))
        if not await self._replace(_codec.encode([*kept, answer])):
            raise Conflict(f"{_PARAM}: another server continued this conversation in the meantime", _PARAM)

    async def _replace(self, new: bytes) -> bool:
        """Store the conversation, also if the stored one expired during the turn."""
        for old in dict.fromkeys((self._stored, None)):
            if await self._store.replace(self._key, old, new):
                return True
        return False


def _media_bytes(messages: Sequence[ChatMessage]) -> int:
    return sum(
        len(part.payload)
        for message in messages
        if isinstance(message.content, list)
        for part in message.content
        if isinstance(part, MediaPart)
    )


def _continued(content: str | list[ContentPart] | None, text: str) -> str | list[ContentPart]:
    """The content of a message with `text` appended to it."""
    if not isinstance(content, list):
        return f"{content or ''}{text}"
    if content and isinstance(content[-1], TextPart):
        return [*content[:-1], TextPart(content[-1].text + text)]
    return [*content, TextPart(text)]
