"""A turn of a conversation that the server keeps: its question and answer are added to it at the end."""

from collections.abc import Callable

import falcon.asgi
import msgspec

from frontend.api.chat_answer import ChoiceAccumulator
from frontend.api.prompting import TurnSpec
from frontend.api.turns import Turn, TurnEvent, TurnUsage, begin_turn
from frontend.routing.router import Model
from frontend.sessions.conversations import Conversations, SessionTurn
from ipc.messages import ChatMessage, ToolCall


class KeptTurn:
    """Passes a turn's events through, and keeps what they amount to."""

    def __init__(self, turn: Turn, session: SessionTurn, goes_on: bool) -> None:
        """`goes_on`: the answer continues the last message."""
        self._turn = turn
        self._session = session
        self._goes_on = goes_on
        self._answer = ChoiceAccumulator(turn, 0)
        self.prompt_token_ids = turn.prompt_token_ids
        self.choices = turn.choices
        self.call_id = turn.call_id

    @property
    def usage(self) -> TurnUsage:
        return self._turn.usage

    async def events(self) -> list[tuple[int, TurnEvent]]:
        events = self._added(await self._turn.events())
        if not events:
            await self.finish()
        return events

    def take(self) -> list[tuple[int, TurnEvent]]:
        return self._added(self._turn.take())

    @property
    def finished(self) -> bool:
        return self._turn.finished

    def listen(self, callback: Callable[[], None] | None) -> None:
        self._turn.listen(callback)

    async def finish(self) -> None:
        """Keep the question and the answer."""
        await self._session.keep(_message(self._answer), self._goes_on)

    def _added(self, events: list[tuple[int, TurnEvent]]) -> list[tuple[int, TurnEvent]]:
        for _, happened in events:
            self._answer.add(happened)
        return events

    def close(self) -> None:
        self._turn.close()
        self._session.close()


async def begin_kept_turn(
    model: Model,
    spec: TurnSpec,
    request: falcon.asgi.Request,
    conversations: Conversations,
    session_id: str,
) -> KeptTurn:
    """Go on with a conversation. Raises ServerError."""
    session = await conversations.begin(session_id, spec.messages)
    try:
        whole = msgspec.structs.replace(spec, messages=session.messages)
        return KeptTurn(await begin_turn(model, whole, request), session, spec.continue_final_message)
    except BaseException:
        session.close()
        raise


def _message(answer: ChoiceAccumulator) -> ChatMessage:
    """Reasoning is not kept: chat templates leave that of earlier turns out."""
    calls = [ToolCall(call.id, call.function.name, call.function.arguments) for call in answer.calls]
    return ChatMessage("assistant", answer.message().content, tool_calls=calls)
