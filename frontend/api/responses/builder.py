"""From the events of a turn to the events of a response, and to the response object at any moment. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from frontend.api.responses.outputs import (
    CallBuilder,
    ClientCallBuilder,
    CustomCallBuilder,
    FunctionCallBuilder,
    ItemBuilder,
    MessageBuilder,
    NewId,
    ReasoningBuilder,
)
from frontend.api.responses.tools import OfferedTool
from frontend.api.schema.response_events import (
    Completed,
    Created,
    Failed,
    Incomplete,
    InProgress,
    Lifecycle,
    Queued,
    ResponseEvent,
)
from frontend.api.schema.response_items import ItemStatus, OutputItem
from frontend.api.schema.responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseBody,
    ResponseError,
    ResponseUsage,
)
from frontend.api.turns import Finished, StartedOver, TurnEvent, TurnUsage
from frontend.errors import BadRequest, QueueFull, ServerError
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning

AnyBuilder = TypeVar("AnyBuilder", bound=ItemBuilder)


class ResponseBuilder:
    """Begun, then fed with a turn's events, then ended, failed or cancelled, and at last announced.

    The response is what it will stay before that is announced, so that it can be kept in between.
    """

    def __init__(
        self,
        response: ResponseBody,
        new_id: NewId,
        clock: Callable[[], float],
        tools: Iterable[OfferedTool] = (),
    ) -> None:
        """`response` is the object before any output; `clock` returns Unix seconds."""
        self._tools = {tool.function.name: tool for tool in tools}
        self._response = self._waiting = self._running = response
        self._new_id = new_id
        self._clock = clock
        self._items: list[OutputItem] = []  # those that have ended
        self._current: ItemBuilder | None = None
        self._truncated = False
        self._queued = False
        self._begun = False
        self._ended = False
        self._next_number = 0  # of events

    @property
    def response(self) -> ResponseBody:
        """The response object as of now, never to change."""
        output = [*self._items, *([self._current.item("in_progress")] if self._current is not None else [])]
        return msgspec.structs.replace(self._response, output=output)

    @property
    def ended(self) -> bool:
        return self._ended

    def queue(self) -> list[ResponseEvent]:
        """Before `begin`, where clients see that a response waits."""
        self._queued = True
        return self._numbered([Created(response=self.response), self._state([])])

    def begin(self) -> list[ResponseEvent]:
        """None the second time."""
        if self._begun:
            return []
        self._begun = True
        self._become(status="in_progress")
        self._running = self._response
        created = [] if self._queued else [Created(response=self.response)]
        return self._numbered([*created, InProgress(response=self.response)])

    def heartbeat(self) -> list[ResponseEvent]:
        """What shows that a silent stream is alive, with the output so far."""
        if not self._queued and not self._begun:
            return self.begin()
        return self._numbered([self._state(self.response.output)])

    def short_heartbeat(self) -> Lifecycle:
        """The same without the output, after `queue`."""
        event = self._state([])
        self._numbered([event])
        return event

    def _state(self, output: list[OutputItem]) -> Lifecycle:
        """The event of the current state; of the one before the end, as long as that is not announced."""
        if not self._begun:
            return Queued(response=msgspec.structs.replace(self._waiting, output=output))
        return InProgress(response=msgspec.structs.replace(self._running, output=output))

    def apply(self, event: TurnEvent, call_id: Callable[[int], str]) -> list[ResponseEvent]:
        """`call_id` gives the id of the turn's n-th tool call."""
        if self._ended:
            return []
        match event:
            case Content(text) if text:
                return self._numbered(self._append(MessageBuilder, text))
            case Reasoning(text) if text:
                return self._numbered(self._append(ReasoningBuilder, text))
            case CallBegun(index, name):
                call = self._call(name, call_id(index))
                return self._numbered([*self._end_item("completed"), *self._begin_item(call)])
            case CallArguments(text=text) if text and self._current is not None:
                return self._numbered(self._current.append(text))
            case Finished(reason=reason):
                self._truncated = reason == "length"
            case StartedOver():
                self._items, self._current = [], None
        return []

    def end(self, usage: TurnUsage) -> list[ResponseEvent]:
        """All events of the turn have come."""
        events = [] if self._items or self._current else self._begin_item(self._new(MessageBuilder))
        events += self._end_item("incomplete" if self._truncated else "completed")
        self._ended = True
        if self._truncated:
            details = IncompleteDetails("max_output_tokens")
            self._become(status="incomplete", incomplete_details=details, usage=usage_body(usage))
        else:
            self._become(status="completed", completed_at=int(self._clock()), usage=usage_body(usage))
        return self._numbered(events)

    def fail(self, error: ServerError) -> None:
        """Keep the output so far as incomplete. Also revokes an end that is not announced yet."""
        self._end_item("incomplete")
        self._ended = True
        self._become(status="failed", completed_at=None, incomplete_details=None, error=_error(error))

    def cancel(self) -> None:
        """The client of a background response wants no more of it."""
        self._end_item("incomplete")
        self._ended = True
        self._become(status="cancelled")

    def announce(self) -> list[ResponseEvent]:
        """The last event."""
        # There is no event for a response that was cancelled: it is not whole.
        kinds = {"completed": Completed, "incomplete": Incomplete, "cancelled": Incomplete}
        kind = kinds.get(self._response.status, Failed)
        return self._numbered([kind(response=self.response)])

    def _become(self, **changes: object) -> None:
        self._response = msgspec.structs.replace(self._response, **changes)

    def _index_of_next(self) -> int:
        return len(self._items) + (self._current is not None)

    def _new(self, kind: type[AnyBuilder]) -> AnyBuilder:
        return kind(self._index_of_next(), self._new_id)

    def _call(self, name: str, call_id: str) -> CallBuilder:
        tool = self._tools.get(name)
        if tool is None:
            return FunctionCallBuilder(self._index_of_next(), self._new_id, name, call_id)
        if tool.is_run_by_client:
            return ClientCallBuilder(self._index_of_next(), self._new_id, tool.name, call_id)
        kind = CustomCallBuilder if tool.is_custom else FunctionCallBuilder
        return kind(self._index_of_next(), self._new_id, tool.name, call_id, tool.namespace)

    def _append(self, kind: type[ItemBuilder], text: str) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        if not isinstance(self._current, kind):
            item = self._new(kind)
            events = [*self._end_item("completed"), *self._begin_item(item)]
        assert self._current is not None
        return [*events, *self._current.append(text)]

    def _begin_item(self, item: ItemBuilder) -> list[ResponseEvent]:
        self._current = item
        return item.begin()

    def _end_item(self, status: ItemStatus) -> list[ResponseEvent]:
        if self._current is None:
            return []
        item, self._current = self._current, None
        events = item.end(status)  # which may be what completes its text
        self._items.append(item.item(status))
        return events

    def _numbered(self, events: Sequence[ResponseEvent]) -> list[ResponseEvent]:
        for event in events:
            event.sequence_number = self._next_number
            self._next_number += 1
        return list(events)


def usage_body(usage: TurnUsage) -> ResponseUsage:
    return ResponseUsage(
        usage.prompt_tokens,
        InputTokensDetails(usage.cached_tokens),
        usage.completion_tokens,
        OutputTokensDetails(usage.reasoning_tokens),
        usage.prompt_tokens + usage.completion_tokens,
    )


def _error(error: ServerError) -> ResponseError:
    match error:
        case BadRequest(code="context_length_exceeded"):
            return ResponseError("context_length_exceeded", error.message)
        case BadRequest():
            return ResponseError("invalid_prompt", error.message)
        case QueueFull():
            return ResponseError("rate_limit_exceeded", error.message)
    return ResponseError("server_error", error.message)
