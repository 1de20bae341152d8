"""Builders of output items, and the events of each item's beginning, growth and end. Pure.

Sequence numbers count over all items of a response, so the caller sets them.
"""

from collections.abc import Callable
from typing import Any

from frontend.api.schema.response_events import (
    ArgumentsDelta,
    ArgumentsDone,
    ItemAdded,
    ItemDone,
    PartAdded,
    PartDone,
    ReasoningDelta,
    ReasoningDone,
    ResponseEvent,
    SummaryDelta,
    SummaryDone,
    SummaryPartAdded,
    SummaryPartDone,
    TextDelta,
    TextDone,
)
from frontend.api.schema.response_items import (
    FunctionCallItem,
    ItemStatus,
    MessageItem,
    OutputItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    SummaryText,
)

NewId = Callable[[str], str]  # from a prefix


class ItemBuilder:
    """An output item at `index` of the output. Its text comes in pieces."""

    prefix: str

    def __init__(self, index: int, new_id: NewId) -> None:
        self.id = new_id(self.prefix)
        self._index = index
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def _where(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self._index}

    def begin(self) -> list[ResponseEvent]:
        raise NotImplementedError

    def append(self, piece: str) -> list[ResponseEvent]:
        self._pieces.append(piece)
        return self._delta(piece)

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        raise NotImplementedError

    def item(self, status: ItemStatus) -> OutputItem:
        """The item as of now."""
        raise NotImplementedError

    def _delta(self, piece: str) -> list[ResponseEvent]:
        raise NotImplementedError


class MessageBuilder(ItemBuilder):
    """What the user is to read."""

    prefix = "msg"

    def begin(self) -> list[ResponseEvent]:
        empty = MessageItem(id=self.id, role="assistant", status="in_progress", content=[])
        return [
            ItemAdded(output_index=self._index, item=empty),
            PartAdded(**self._where, part=OutputText("")),
        ]

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        return [
            TextDone(**self._where, text=self.text),
            PartDone(**self._where, part=OutputText(self.text)),
            ItemDone(output_index=self._index, item=self.item(status)),
        ]

    def item(self, status: ItemStatus) -> MessageItem:
        return MessageItem(id=self.id, role="assistant", status=status, content=[OutputText(self.text)])

    def _delta(self, piece: str) -> list[ResponseEvent]:
        return [TextDelta(**self._where, delta=piece)]


class ReasoningBuilder(ItemBuilder):
    """What the model wrote for itself: as it is, and as its own summary, which is what SDKs show."""

    prefix = "rs"

    def begin(self) -> list[ResponseEvent]:
        empty = ReasoningItem(id=self.id, status="in_progress", content=[])
        return [
            ItemAdded(output_index=self._index, item=empty),
            PartAdded(**self._where, part=ReasoningText("")),
            SummaryPartAdded(**self._where, part=SummaryText("")),
        ]

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        return [
            ReasoningDone(**self._where, text=self.text),
            PartDone(**self._where, part=ReasoningText(self.text)),
            SummaryDone(**self._where, text=self.text),
            SummaryPartDone(**self._where, part=SummaryText(self.text)),
            ItemDone(output_index=self._index, item=self.item(status)),
        ]

    def item(self, status: ItemStatus) -> ReasoningItem:
        return ReasoningItem(
            id=self.id,
            status=status,
            summary=[SummaryText(self.text)],
            content=[ReasoningText(self.text)],
        )

    def _delta(self, piece: str) -> list[ResponseEvent]:
        return [ReasoningDelta(**self._where, delta=piece), SummaryDelta(**self._where, delta=piece)]


class CallBuilder(ItemBuilder):
    """A call of a function; its text are the arguments."""

    prefix = "fc"

    def __init__(self, index: int, new_id: NewId, name: str, call_id: str) -> None:
        super().__init__(index, new_id)
        self._name = name
        self._call_id = call_id

    def begin(self) -> list[ResponseEvent]:
        return [ItemAdded(output_index=self._index, item=self.item("in_progress"))]

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        done = ItemDone(output_index=self._index, item=self.item(status))
        if status != "completed":  # nobody is to take these arguments for whole
            return [done]
        return [ArgumentsDone(**self._where, arguments=self.text), done]

    def item(self, status: ItemStatus) -> FunctionCallItem:
        return FunctionCallItem(
            id=self.id, call_id=self._call_id, name=self._name, arguments=self.text, status=status
        )

    def _delta(self, piece: str) -> list[ResponseEvent]:
        return [ArgumentsDelta(**self._where, delta=piece)]
