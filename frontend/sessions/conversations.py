"""Conversations that the server keeps for plain chat completions, by the client's session id.

One turn at a time: who comes while another turn of the same conversation runs is refused with a 409, because
a turn that waited would not answer what its client had in view. Within this server that happens before any
work; between servers that share a store it shows at the end of the slower turn, which is then not kept.
"""

import time
from collections.abc import Callable

import msgspec

from frontend.errors import BadRequest, Conflict
from frontend.sessions.store import Store
from ipc.messages import ChatMessage

MAX_MESSAGES = 1000
MAX_BYTES = 1024**2

_PARAM = "session_id"
_decoder = msgspec.msgpack.Decoder(list[ChatMessage])


class Conversations:
    def __init__(
        self, store: Store, turn_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """No turn takes longer than `turn_seconds`; a conversation is free again after that in any case."""
        self._store = store
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._began: dict[str, float] = {}  # of the turns that run, by conversation

    async def begin(self, session_id: str, messages: list[ChatMessage]) -> "SessionTurn":
        """A turn in which the client says `messages`. The caller closes it.

        Raises Conflict, StoreUnavailable, or BadRequest where the conversation would become too long.
        """
        now = self._clock()
        if now < self._began.get(session_id, -self._turn_seconds) + self._turn_seconds:
            raise Conflict(f"{_PARAM}: another turn of this conversation is running", _PARAM, retry_after=1)
        self._began[session_id] = now
        turn = SessionTurn(self._store, session_id, lambda: self._end(session_id, now))
        try:
            await turn.load(messages)
        except BaseException:
            turn.close()
            raise
        return turn

    def _end(self, session_id: str, began: float) -> None:
        if self._began.get(session_id) == began:
            del self._began[session_id]


class SessionTurn:
    """One question and its answer. `messages` is the conversation up to and with the question."""

    def __init__(self, store: Store, session_id: str, close: Callable[[], None]) -> None:
        self.messages: list[ChatMessage] = []
        self.close = close  # the conversation is free for its next turn
        self._store = store
        self._key = f"conversation:{session_id}"
        self._stored: bytes | None = None

    async def load(self, question: list[ChatMessage]) -> None:
        """Raises StoreUnavailable, or BadRequest where the conversation would become too long."""
        self._stored = await self._store.get(self._key)
        self.messages = [*(_decoder.decode(self._stored) if self._stored is not None else []), *question]
        if len(self.messages) >= MAX_MESSAGES or len(msgspec.msgpack.encode(self.messages)) > MAX_BYTES:
            raise BadRequest(
                f"{_PARAM}: a conversation holds at most {MAX_MESSAGES} messages and {MAX_BYTES} bytes; "
                "begin a new one",
                _PARAM,
            )

    async def keep(self, answer: ChatMessage, goes_on: bool = False) -> None:
        """Add the question and its answer to what is stored. `goes_on`: it continues the last message.

        Raises Conflict where another server was faster, StoreUnavailable or RequestTooLarge.
        """
        kept = list(self.messages)
        if goes_on:
            answer = msgspec.structs.replace(answer, content=f"{kept.pop().content}{answer.content or ''}")
        new = msgspec.msgpack.encode([*kept, answer])
        if not await self._replace(new):
            raise Conflict(f"{_PARAM}: the conversation went on elsewhere in the meantime", _PARAM)

    async def _replace(self, new: bytes) -> bool:
        """What was stored may have expired during the turn."""
        for old in dict.fromkeys((self._stored, None)):
            if await self._store.replace(self._key, old, new):
                return True
        return False
