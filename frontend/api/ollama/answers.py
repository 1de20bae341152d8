"""A turn as Ollama's lines of JSON, or as one object."""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec import UNSET

from frontend.api.chat_answer import collect
from frontend.api.ollama.durations import Watch, timestamp
from frontend.api.ollama.ndjson import encode as encoded
from frontend.api.ollama.ndjson import line
from frontend.api.ollama.replies import (
    Call,
    Called,
    Message,
    Reply,
    TokenLogprob,
)
from frontend.api.turns import Finished, Tokens, Turn, TurnEvent
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning

_CHOICE = 0  # an answer has one
_TEXT_MARK = "\0text\0"
_TIME_MARK = "\0time\0"

# Makes an object of an answer from the model's name, a time, a piece of text, one of reasoning, and calls.
Form = Callable[[str, str, str, str, Sequence[Call]], Reply]
# The same for one model.
Make = Callable[[str, str, str, Sequence[Call]], Reply]


def chat_reply(model: str, created_at: str, text: str, thinking: str, calls: Sequence[Call]) -> Reply:
    message = Message(content=text, thinking=thinking or UNSET, tool_calls=list(calls) or UNSET)
    return Reply(model=model, created_at=created_at, message=message)


def generate_reply(model: str, created_at: str, text: str, thinking: str, calls: Sequence[Call]) -> Reply:
    return Reply(
        model=model,
        created_at=created_at,
        response=text,
        thinking=thinking or UNSET,
        tool_calls=list(calls) or UNSET,
    )


class Answer(msgspec.Struct, frozen=True):
    """A turn that answers a request, and how its objects are made."""

    turn: Turn
    watch: Watch
    make: Make

    def last(self, reply: Reply, finished: Finished) -> Reply:
        """The reply as the last one. A call of tools is an end like any other to Ollama."""
        reason = "length" if finished.reason == "length" else "stop"
        reply.end(reason, self.watch.statistics(self.turn.usage, self.turn.timing))
        return reply


async def whole(answer: Answer) -> Reply:
    """The answer as one object. Raises ServerError or ClientGone."""
    [choice] = await collect(answer.turn)
    calls = [
        call
        for index, body in enumerate(choice.calls)
        if (call := call_of(body.id, index, body.function.name, body.function.arguments)) is not None
    ]
    reply = answer.make(timestamp(), choice.content, choice.reasoning, calls)
    reply.logprobs = logprobs_of(choice.tokens) if choice.tokens.logprobs else UNSET
    return answer.last(reply, choice.finished)


def call_of(call_id: str, index: int, name: str, arguments: str) -> Call | None:
    """None for one whose arguments are incomplete: the text was cut at its token limit."""
    raw = arguments.strip().encode()
    try:
        msgspec.json.decode(raw, type=dict)
    except (msgspec.DecodeError, RecursionError):
        return None
    return Call(call_id, Called(index, name, msgspec.Raw(raw)))


def logprobs_of(tokens: Tokens) -> list[TokenLogprob]:
    return [
        TokenLogprob(data.decode(errors="replace"), logprob, list(data))
        for data, logprob in zip(tokens.token_bytes, tokens.logprobs, strict=True)
    ]


class Lines:
    """Encodes a turn's events. What is the same over a request is encoded once."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._make = answer.make
        self._call_id = partial(answer.turn.call_id, _CHOICE)
        before, after = encoded(self._make(_TIME_MARK, _TEXT_MARK, "", ())).split(encoded(_TEXT_MARK))
        self._head, self._middle = before.split(encoded(_TIME_MARK))
        self._tail = after + b"\n"
        self._call: CallBegun | None = None  # whose arguments are arriving
        self._arguments: list[str] = []
        self._tokens = Tokens([], [], [])  # to go with the next line
        self._finished = Finished("stop")

    def encode(self, events: list[tuple[int, TurnEvent]]) -> bytes:
        now = timestamp()
        stamp = encoded(now)
        return b"".join([self._encoded(event, now, stamp) for _, event in events])

    def ending(self) -> bytes:
        return line(self._answer.last(self._reply(timestamp(), "", "", ()), self._finished))

    def _encoded(self, event: TurnEvent, now: str, stamp: bytes) -> bytes:
        if type(event) is Content and not self._tokens.logprobs:  # once per token
            data = b"".join((self._head, stamp, self._middle, encoded(event.text), self._tail))
            return data if self._call is None else self._called(now) + data
        match event:
            case Tokens():
                self._tokens.ids.extend(event.ids)
                self._tokens.logprobs.extend(event.logprobs)
                self._tokens.token_bytes.extend(event.token_bytes)
            case Content(text):
                return self._called(now) + line(self._reply(now, text, "", ()))
            case Reasoning(text):
                return self._called(now) + line(self._reply(now, "", text, ()))
            case CallBegun():
                done = self._called(now)
                self._call, self._arguments = event, []
                return done
            case CallArguments(_, text):
                self._arguments.append(text)
            case Finished():
                self._finished = event
                return self._called(now)
        return b""  # StartedOver never happens where the client streams

    def _called(self, now: str) -> bytes:
        """The call that has just ended, if any: Ollama's calls are whole."""
        begun, self._call = self._call, None
        if begun is None:
            return b""
        call = call_of(self._call_id(begun.index), begun.index, begun.name, "".join(self._arguments))
        return b"" if call is None else line(self._reply(now, "", "", (call,)))

    def _reply(self, now: str, text: str, thinking: str, calls: Sequence[Call]) -> Reply:
        reply = self._make(now, text, thinking, calls)
        if self._tokens.logprobs:
            reply.logprobs = logprobs_of(self._tokens)
            self._tokens = Tokens([], [], [])
        return reply
