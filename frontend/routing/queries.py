"""Questions to a model's hosts: what the model can do, and what its tokenizer makes of a text."""

import asyncio
import itertools
from collections.abc import Callable
from collections.abc import Sequence as Rows
from typing import Any

import msgspec

from frontend.errors import ClientGone, EngineCrashed, ServerError, from_host
from frontend.routing.replica import Replica
from frontend.supervision.death import Death
from ipc.messages import (
    Detokenize,
    Detokenized,
    Failed,
    InlinePrompt,
    ModelCard,
    Tokenize,
    Tokenized,
)

Question = InlinePrompt | Detokenize  # the request id of the latter is given when it is sent
Answer = Tokenized | Detokenized

_DEATHS = 2  # in how many hosts' company a question may die before it is given up


class _Query:
    def __init__(self, question: Question, encoded_bytes: int, answer: "asyncio.Future[Answer]") -> None:
        self.question = question
        self.encoded_bytes = encoded_bytes
        self.answer = answer
        self.deaths = 0


class Queries:
    """One model's questions: those that wait for a host, and those that hosts are asked."""

    def __init__(self, request_ids: "itertools.count[int]", changed: Callable[[], None]) -> None:
        """`request_ids` are shared with all else that hosts are sent. `changed`: there are more or fewer."""
        self._request_ids = request_ids
        self._changed = changed
        self._waiting: list[_Query] = []
        self._asked: dict[int, tuple[Replica, _Query]] = {}
        self._card: ModelCard | None = None  # of the last replica that became ready
        self._card_waiters: set[asyncio.Future[ModelCard]] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._asked) + len(self._card_waiters)

    @property
    def knows_card(self) -> bool:
        return self._card is not None

    def card(self) -> "asyncio.Future[ModelCard]":
        """The model's card, once it is known."""
        answer: asyncio.Future[ModelCard] = asyncio.get_running_loop().create_future()
        if self._card is not None:
            answer.set_result(self._card)
        else:
            self._card_waiters.add(answer)
            answer.add_done_callback(self._forget)
            self._changed()
        return answer

    def _forget(self, waiter: "asyncio.Future[ModelCard]") -> None:
        self._card_waiters.discard(waiter)
        self._changed()

    def ready(self, card: ModelCard) -> None:
        self._card = card
        for waiter in self._card_waiters:
            if not waiter.done():
                waiter.set_result(card)

    def add(self, question: Question, encoded_bytes: int) -> "asyncio.Future[Answer]":
        """The answer to come. Cancel it, or make it fail, to forget the question."""
        query = _Query(question, encoded_bytes, asyncio.get_running_loop().create_future())
        query.answer.add_done_callback(lambda _: self._drop(query))
        self._waiting.append(query)
        return query.answer

    def _drop(self, query: _Query) -> None:
        """Done while it waited. A host that was asked is still at work on it: that one goes on counting."""
        if query in self._waiting:
            self._waiting.remove(query)
        self._changed()

    def send_to(self, replicas: Rows[Replica]) -> None:
        """Send what waits, oldest first, to a replica that is ready."""
        ready = next((replica for replica in replicas if replica.host.ready), None)
        self._waiting = [query for query in self._waiting if not query.answer.done()]
        while ready is not None and self._waiting and self._send(self._waiting[0], ready):
            self._waiting.pop(0)

    def _send(self, query: _Query, replica: Replica) -> bool:
        """False while the question has no room in shared memory."""
        request_id = next(self._request_ids)
        question = query.question
        if isinstance(question, Detokenize):
            replica.host.send(msgspec.structs.replace(question, request_id=request_id))
        else:
            prompt = replica.place(question, query.encoded_bytes)
            if prompt is None:
                return False
            replica.host.send(Tokenize(request_id, prompt))
        self._asked[request_id] = (replica, query)
        return True

    def answered(self, message: Answer | Failed) -> bool:
        """Pass an answer on; False if nothing was asked under its request id."""
        _, query = self._asked.pop(message.request_id, (None, None))
        if query is None:
            return False
        if not query.answer.done():
            if isinstance(message, Failed):
                query.answer.set_exception(from_host(message.error))
            else:
                query.answer.set_result(message)
        self._changed()
        return True

    def died(self, replica: Replica, death: Death) -> None:
        """Ask another host what this one was asked, but not for ever."""
        for request_id, (asked, query) in list(self._asked.items()):
            if asked is replica:
                del self._asked[request_id]
                query.deaths += 1
                if query.deaths < _DEATHS:
                    self._waiting.insert(0, query)
                else:
                    fail(query.answer, EngineCrashed(death.message))

    def fail_all(self, error: ServerError) -> None:
        asked = [query for _, query in self._asked.values()]
        for query in [*self._waiting, *asked]:
            fail(query.answer, error)
        for waiter in list(self._card_waiters):
            fail(waiter, error)
        self._waiting.clear()
        self._asked.clear()


def fail(answer: "asyncio.Future[Any]", error: ServerError | ClientGone) -> None:
    """Unless it is there already."""
    if not answer.done():
        answer.set_exception(error)
