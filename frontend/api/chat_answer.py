"""A turn as the body of a chat completion, or as its chunks."""

from functools import partial

import msgspec
from msgspec import UNSET

from frontend.api.generating import Identity, usage_body
from frontend.api.schema.chat import (
    AssistantMessage,
    ChatChunk,
    ChatCompletion,
    ChatLogprobs,
    ChatRequest,
    Choice,
    ChunkChoice,
    DeltaBody,
    FunctionDelta,
    TokenLogprob,
    ToolCallDelta,
)
from frontend.api.schema.tools import CalledFunction, ToolCallBody
from frontend.api.sse import around_text, event
from frontend.api.turns import AnyTurn, Finished, StartedOver, Tokens, TurnEvent
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning

_json = msgspec.json.encode


class ChoiceAccumulator:
    """One choice's whole answer."""

    def __init__(self, turn: AnyTurn, index: int) -> None:
        self._call_id = partial(turn.call_id, index)
        self._begin()

    def _begin(self) -> None:
        self.content = ""
        self.reasoning = ""
        self.calls: list[ToolCallBody] = []
        self.tokens = Tokens([], [], [])
        self.finished = Finished("stop")

    def add(self, happened: TurnEvent) -> None:
        match happened:
            case Content(text):
                self.content += text
            case Reasoning(text):
                self.reasoning += text
            case CallBegun(index, name):
                self.calls.append(ToolCallBody(self._call_id(index), CalledFunction(name, "")))
            case CallArguments(index, text):
                self.calls[index].function.arguments += text
            case Tokens():
                _extend(self.tokens, happened)
            case Finished():
                self.finished = happened
            case StartedOver():
                self._begin()

    def message(self) -> AssistantMessage:
        return AssistantMessage(
            content=self.content if self.content or not self.calls else None,
            reasoning_content=self.reasoning or UNSET,
            tool_calls=self.calls or UNSET,
        )


async def collect(turn: AnyTurn) -> list[ChoiceAccumulator]:
    """Read a turn to its end, by choice. Raises ServerError or ClientGone."""
    choices = [ChoiceAccumulator(turn, index) for index in range(turn.choices)]
    try:
        while events := await turn.events():
            for index, happened in events:
                choices[index].add(happened)
    finally:
        turn.close()
    return choices


async def completion(identity: Identity, turn: AnyTurn, body: ChatRequest) -> ChatCompletion:
    """The whole answer. Raises ServerError or ClientGone."""
    collected = await collect(turn)
    usage = turn.usage
    return ChatCompletion(
        **identity.fields,
        choices=[
            Choice(
                index=index,
                message=choice.message(),
                finish_reason=choice.finished.reason,
                logprobs=_logprobs(choice.tokens) if body.logprobs else None,
                stop_reason=choice.finished.stop,
                token_ids=choice.tokens.ids if body.return_token_ids else UNSET,
            )
            for index, choice in enumerate(collected)
        ],
        usage=usage_body(usage, usage.reasoning_tokens),
        prompt_token_ids=turn.prompt_token_ids if body.return_token_ids else UNSET,
    )


def heartbeat(identity: Identity, body: ChatRequest) -> bytes:
    """A chunk that adds nothing."""
    nothing = ChunkChoice(index=0, delta=DeltaBody())
    no_usage = None if body.include_usage else UNSET
    return event(ChatChunk(**identity.fields, choices=[nothing], usage=no_usage))


class ChatChunks:
    """Encodes a turn's events. What is the same over a request is encoded once."""

    def __init__(self, identity: Identity, turn: AnyTurn, body: ChatRequest) -> None:
        self._fields = identity.fields
        self._turn = turn
        self._body = body
        self._no_usage = None if body.include_usage else UNSET
        choices = range(turn.choices)
        self._tokens = [Tokens([], [], []) for _ in choices]  # to go with the choice's next chunk
        self._content = [around_text(partial(self._text_chunk, "content", index)) for index in choices]
        self._reasoning = [
            around_text(partial(self._text_chunk, "reasoning_content", index)) for index in choices
        ]
        self._unopened = set(choices)  # whose role was not sent yet
        self.opening = b""
        if body.return_token_ids:
            self.opening = event(
                ChatChunk(**self._fields, choices=[], prompt_token_ids=turn.prompt_token_ids)
            )

    def encode(self, events: list[tuple[int, TurnEvent]]) -> bytes:
        if not self._unopened:
            return b"".join([self._encoded(index, happened) for index, happened in events])
        return b"".join(
            [self._opened(index, happened) + self._encoded(index, happened) for index, happened in events]
        )

    def ending(self) -> bytes:
        if not self._body.include_usage:
            return b""
        usage = self._turn.usage
        return event(ChatChunk(**self._fields, choices=[], usage=usage_body(usage, usage.reasoning_tokens)))

    def _opened(self, index: int, happened: TurnEvent) -> bytes:
        """The choice's first chunk. Its content is text only if text follows: clients would show an empty one
        before a call."""
        if index not in self._unopened or isinstance(happened, Tokens):
            return b""
        self._unopened.remove(index)
        content = "" if isinstance(happened, Content | Finished) else None
        first = ChunkChoice(index=index, delta=DeltaBody(role="assistant", content=content))
        return event(ChatChunk(**self._fields, choices=[first], usage=self._no_usage))

    def _encoded(self, index: int, happened: TurnEvent) -> bytes:
        if type(happened) is Content:  # once per token: a class pattern takes a third of the time for it
            return self._text(index, happened.text, "content", self._content[index])
        match happened:
            case Tokens():
                _extend(self._tokens[index], happened)
                return b""
            case Reasoning(text):
                return self._text(index, text, "reasoning_content", self._reasoning[index])
            case CallBegun(call, name):
                begun = ToolCallDelta(
                    call, self._turn.call_id(index, call), "function", FunctionDelta(name, arguments="")
                )
                return event(self._chunk(index, DeltaBody(tool_calls=[begun])))
            case CallArguments(call, text):
                piece = ToolCallDelta(call, function=FunctionDelta(arguments=text))
                return event(self._chunk(index, DeltaBody(tool_calls=[piece])))
            case Finished():
                return event(self._chunk(index, DeltaBody(), happened))
        return b""  # StartedOver never happens where the client streams

    def _text(self, index: int, text: str, field: str, around: tuple[bytes, bytes]) -> bytes:
        if self._tokens[index].are_there:
            return event(self._text_chunk(field, index, text))
        return b"".join((around[0], _json(text), around[1]))

    def _text_chunk(self, field: str, index: int, text: str) -> ChatChunk:
        delta = DeltaBody(content=text) if field == "content" else DeltaBody(reasoning_content=text)
        return self._chunk(index, delta)

    def _chunk(self, index: int, delta: DeltaBody, finished: Finished | None = None) -> ChatChunk:
        choice = ChunkChoice(index=index, delta=delta)
        if finished is not None:
            choice.finish_reason, choice.stop_reason = finished.reason, finished.stop
        tokens = self._tokens[index]
        if tokens.are_there:
            self._tokens[index] = Tokens([], [], [])
            choice.logprobs = _logprobs(tokens) if tokens.logprobs else None
            choice.token_ids = tokens.ids if self._body.return_token_ids else UNSET
        return ChatChunk(**self._fields, choices=[choice], usage=self._no_usage)


def _extend(tokens: Tokens, more: Tokens) -> None:
    tokens.ids.extend(more.ids)
    tokens.logprobs.extend(more.logprobs)
    tokens.token_bytes.extend(more.token_bytes)


def _logprobs(tokens: Tokens) -> ChatLogprobs:
    return ChatLogprobs(
        [
            TokenLogprob(data.decode(errors="replace"), logprob, list(data))
            for data, logprob in zip(tokens.token_bytes, tokens.logprobs, strict=True)
        ]
    )
