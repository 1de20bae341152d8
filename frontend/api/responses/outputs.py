"""Builders of output items, and the events of each item's beginning, growth and end. Pure.

Sequence numbers count over all items of a response, so the caller sets them.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from frontend.api.responses.client_tools import id_prefix, item_of_call
from frontend.api.responses.custom_input import CustomInput
from frontend.api.schema.response_events import (
    ArgumentsDelta,
    ArgumentsDone,
    CustomInputDelta,
    CustomInputDone,
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
    ClientCallItem,
    CustomCallItem,
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
    """A call of a tool, by the names that the client gave it."""

    def __init__(
        self, index: int, new_id: NewId, name: str, call_id: str, namespace: str | None = None
    ) -> None:
        super().__init__(index, new_id)
        self._called: dict[str, Any] = {"id": self.id, "call_id": call_id, "name": name}
        if namespace is not None:
            self._called["namespace"] = namespace

    def begin(self) -> list[ResponseEvent]:
        return [ItemAdded(output_index=self._index, item=self.item("in_progress"))]


class FunctionCallBuilder(CallBuilder):
    """Its text are the arguments."""

    prefix = "fc"

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        done = ItemDone(output_index=self._index, item=self.item(status))
        if status != "completed":  # the arguments may be cut
            return [done]
        return [ArgumentsDone(**self._where, arguments=self.text), done]

    def item(self, status: ItemStatus) -> FunctionCallItem:
        return FunctionCallItem(**self._called, arguments=self.text, status=status)

    def _delta(self, piece: str) -> list[ResponseEvent]:
        return [ArgumentsDelta(**self._where, delta=piece)]


class CustomCallBuilder(CallBuilder):
    """Its text is the input, which is taken out of the arguments."""

    prefix = "ctc"

    def __init__(
        self, index: int, new_id: NewId, name: str, call_id: str, namespace: str | None = None
    ) -> None:
        super().__init__(index, new_id, name, call_id, namespace)
        self._input = CustomInput()

    def append(self, piece: str) -> list[ResponseEvent]:
        text = self._input.feed(piece)
        return super().append(text) if text else []

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        rest = self._input.rest() if status == "completed" else ""
        events = super().append(rest) if rest else []
        if status == "completed":
            events.append(CustomInputDone(**self._where, input=self.text))
        return [*events, ItemDone(output_index=self._index, item=self.item(status))]

    def item(self, status: ItemStatus) -> CustomCallItem:
        return CustomCallItem(**self._called, input=self.text)

    def _delta(self, piece: str) -> list[ResponseEvent]:
        return [CustomInputDelta(**self._where, delta=piece)]


class ClientCallBuilder(CallBuilder):
    """A call of a shell or the like. Its text is the arguments: only their end shows what item it is."""

    def __init__(
        self, index: int, new_id: NewId, name: str, call_id: str, namespace: str | None = None
    ) -> None:
        self.prefix = id_prefix(name)
        super().__init__(index, new_id, name, call_id, namespace)

    def begin(self) -> list[ResponseEvent]:
        return []

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        item = self.item(status)
        begun = msgspec.structs.replace(item, status="in_progress")
        added = ItemAdded(output_index=self._index, item=begun)
        return [added, ItemDone(output_index=self._index, item=item)]

    def item(self, status: ItemStatus) -> ClientCallItem | FunctionCallItem:
        item = None
        if status == "completed":
            item = item_of_call(self._called["name"], self.id, self._called["call_id"], self.text)
        return item or FunctionCallItem(**self._called, arguments=self.text, status=status)

    def _delta(self, piece: str) -> list[ResponseEvent]:
        return []
