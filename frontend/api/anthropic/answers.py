"""A turn as content blocks: whole, or as the events of a stream."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import Raw

from frontend.api.anthropic.thinking import signature_of
from frontend.api.schema.messages import (
    Block,
    BlockDelta,
    BlockStart,
    BlockStop,
    InputJsonDelta,
    MessageAnswer,
    MessageDelta,
    MessageStart,
    MessageStop,
    OutputTokensDetails,
    SignatureDelta,
    StopBody,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    UsageBody,
)
from frontend.api.sse import around_text, named_event
from frontend.api.turns import AnyTurn, Finished, StartedOver, TurnEvent, TurnUsage
from frontend.http.keep_alive import PING
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning

_CHOICE = 0  # an answer has one
_EMPTY = Raw(b"{}")
_json = msgspec.json.encode

BlockEvent = BlockStart | BlockDelta | BlockStop
Kind = Literal["text", "thinking", "tool_use"]


def usage_of(usage: TurnUsage) -> UsageBody:
    return UsageBody(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetails(usage.reasoning_tokens),
    )


def stop_of(finished: Finished, completion_tokens: int, max_tokens: int) -> StopBody:
    """Why an answer ended, and the stop sequence that ended it."""
    match finished:
        case Finished("tool_calls"):
            return StopBody("tool_use", None)
        case Finished("length"):
            is_full = completion_tokens < max_tokens
            return StopBody("model_context_window_exceeded" if is_full else "max_tokens", None)
        case Finished(_, str(stop)):
            return StopBody("stop_sequence", stop)
    return StopBody("end_turn", None)


class Blocks:
    """Cuts a turn's events into content blocks, in their order: one begins where the last one has ended."""

    def __init__(self, call_id: Callable[[int, int], str], *, omits_thinking: bool) -> None:
        self._call_id = call_id
        self._omits_thinking = omits_thinking
        self.finished = Finished("stop")
        self._begin()

    def _begin(self) -> None:
        self.kind: Kind | None = None  # of the block that is open
        self.index = -1  # its number
        self._blanks = {"text": "", "thinking": ""}  # white space, which alone makes no block
        self._thought = ""

    def add(self, event: TurnEvent) -> list[BlockEvent]:
        match event:
            case Content(text):
                return self._text("text", text)
            case Reasoning(text):
                return self._text("thinking", text)
            case CallBegun(call, name):
                block = ToolUseBlock(self._call_id(_CHOICE, call), name, _EMPTY)
                return [*self.close(), self._open("tool_use", block)]
            case CallArguments(_, text):
                return [BlockDelta(self.index, InputJsonDelta(text))] if text else []
            case Finished():
                self.finished = event
            case StartedOver():
                self._begin()
        return []

    def close(self) -> list[BlockEvent]:
        """The end of the open block, if there is one."""
        if self.kind is None:
            return []
        events: list[BlockEvent] = [BlockStop(self.index)]
        if self.kind == "thinking":
            signature = signature_of(self._thought, is_omitted=self._omits_thinking)
            events.insert(0, BlockDelta(self.index, SignatureDelta(signature)))
        self.kind = None
        return events

    def end(self) -> list[BlockEvent]:
        """What follows the last event. An answer of nothing but white space is one block."""
        blank = self._blanks["text"]
        if self.index >= 0 or not blank:
            return self.close()
        begun = self._open("text", TextBlock(""))
        return [begun, BlockDelta(self.index, TextDelta(blank)), *self.close()]

    def _open(self, kind: Kind, block: Block) -> BlockStart:
        self.index += 1
        self.kind, self._thought = kind, ""
        self._blanks = dict.fromkeys(self._blanks, "")
        return BlockStart(self.index, block)

    def _text(self, kind: Literal["text", "thinking"], text: str) -> list[BlockEvent]:
        if self.kind == kind:
            return self._delta(kind, text)
        if not (text := self._blanks[kind] + text).strip():
            self._blanks[kind] = text
            return []
        block: Block = TextBlock("") if kind == "text" else ThinkingBlock("", "")
        return [*self.close(), self._open(kind, block), *self._delta(kind, text)]

    def _delta(self, kind: Literal["text", "thinking"], text: str) -> list[BlockEvent]:
        if kind == "text":
            return [BlockDelta(self.index, TextDelta(text))]
        if self._omits_thinking:
            self._thought += text
            return []
        return [BlockDelta(self.index, ThinkingDelta(text))]


class MessageEvents:
    """Encodes a turn's events. What is the same over a block is encoded once."""

    def __init__(
        self, message: MessageAnswer, turn: AnyTurn, max_tokens: int, *, omits_thinking: bool
    ) -> None:
        self._turn = turn
        self._max_tokens = max_tokens
        self._blocks = Blocks(turn.call_id, omits_thinking=omits_thinking)
        self._around = b"", b""  # the text of the open block
        self.opening = named_event(MessageStart(message)) + PING

    def encode(self, events: Sequence[tuple[int, TurnEvent]]) -> bytes:
        return b"".join([self._encoded(event) for _, event in events])

    def ending(self) -> bytes:
        usage = self._turn.usage
        stop = stop_of(self._blocks.finished, usage.completion_tokens, self._max_tokens)
        last = (*self._blocks.end(), MessageDelta(stop, usage_of(usage)), MessageStop())
        return b"".join(map(named_event, last))

    def _encoded(self, event: TurnEvent) -> bytes:
        if type(event) is Content and self._blocks.kind == "text":  # once per token
            return b"".join((self._around[0], _json(event.text), self._around[1]))
        before = self._blocks.index
        events = self._blocks.add(event)
        if self._blocks.kind == "text" and self._blocks.index != before:
            index = self._blocks.index
            self._around = around_text(lambda text: BlockDelta(index, TextDelta(text)), named_event)
        return b"".join(map(named_event, events))


async def whole(
    message: MessageAnswer, turn: AnyTurn, max_tokens: int, *, omits_thinking: bool
) -> MessageAnswer:
    """The answer to the end of the turn. Raises ServerError or ClientGone."""
    blocks = Blocks(turn.call_id, omits_thinking=omits_thinking)
    content = _Content()
    try:
        while events := await turn.events():
            for _, event in events:
                if isinstance(event, StartedOver):
                    content = _Content()
                content.add(blocks.add(event))
    finally:
        turn.close()
    content.add(blocks.end())
    was_cut = blocks.finished.reason == "length"
    usage = turn.usage
    stop = stop_of(blocks.finished, usage.completion_tokens, max_tokens)
    return msgspec.structs.replace(
        message,
        content=content.whole(was_cut=was_cut),
        stop_reason=stop.stop_reason,
        stop_sequence=stop.stop_sequence,
        usage=usage_of(usage),
    )


class _Content:
    """The blocks that events amount to."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._texts: list[list[str]] = []

    def add(self, events: Sequence[BlockEvent]) -> None:
        for event in events:
            match event:
                case BlockStart(_, block):
                    self._blocks.append(block)
                    self._texts.append([])
                case BlockDelta(index, SignatureDelta(signature)):
                    self._blocks[index] = ThinkingBlock("", signature)
                case BlockDelta(index, TextDelta(text) | ThinkingDelta(text) | InputJsonDelta(text)):
                    self._texts[index].append(text)

    def whole(self, *, was_cut: bool) -> list[Block]:
        """Without a call whose input is incomplete, where the answer `was_cut` at its token limit."""
        nothing = "" if was_cut else "{}"
        blocks = [
            _filled(block, "".join(texts), nothing)
            for block, texts in zip(self._blocks, self._texts, strict=True)
        ]
        return [block for block in blocks if block is not None]


def _filled(block: Block, text: str, nothing: str) -> Block | None:
    """None for a call whose input is no object; `nothing` stands for that of a call that has none."""
    match block:
        case TextBlock():
            return TextBlock(text)
        case ThinkingBlock():
            return ThinkingBlock(text, block.signature)
    raw = (text.strip() or nothing).encode()
    try:
        msgspec.json.decode(raw, type=dict)
    except (msgspec.DecodeError, RecursionError):
        return None
    return ToolUseBlock(block.id, block.name, Raw(raw))
