"""A conversation in plainer forms, for chat templates that refuse or cannot render it as it is. Pure.

OpenAI takes system messages anywhere, several users in a row and calls of any id; many templates do not.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, takewhile

import msgspec

from ipc.messages import ChatMessage, ToolCall

_BETWEEN = "\n\n"
_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")


def merge_leading_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """System messages that come first as one: several templates show one, and say nothing of the others."""
    first = list(takewhile(lambda message: message.role == "system", messages))
    return [*([_joined(first)] if len(first) > 1 else first), *messages[len(first) :]]


def plainer(messages: Sequence[ChatMessage]) -> Iterator[list[ChatMessage]]:
    """Forms of `messages`, each further from what the client wrote, to be tried in this order."""
    form = list(messages)
    for simplify in (_complete, _in_turns, _one_call_at_a_time, _without_system):
        form = simplify(form)
        yield form


def _complete(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Every message with a content, every call with an object of arguments."""
    return [
        msgspec.structs.replace(
            message,
            content=message.content or "",
            tool_calls=[
                msgspec.structs.replace(call, arguments=_object(call)) for call in message.tool_calls
            ],
        )
        for message in messages
    ]


def _object(call: ToolCall) -> str:
    try:
        return call.arguments if isinstance(json.loads(call.arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _in_turns(messages: list[ChatMessage]) -> list[ChatMessage]:
    """One system message, which comes first; users and assistants in turns; ids as Mistral wants them."""
    system = [message for message in messages if message.role == "system"]
    turns: list[list[ChatMessage]] = []
    for message in [*system, *(message for message in messages if message.role != "system")]:
        if turns and _is_one_turn(turns[-1][-1], message):
            turns[-1].append(message)
        else:
            turns.append([message])
    return [_with_short_ids(_joined(turn)) for turn in turns]


def _is_one_turn(first: ChatMessage, second: ChatMessage) -> bool:
    return first.role == second.role != "tool" and not first.tool_calls


def _joined(messages: Sequence[ChatMessage]) -> ChatMessage:
    """All at once: one by one, each would copy the text of those before."""
    texts = [message.text for message in messages if message.content]
    return msgspec.structs.replace(messages[-1], content=_BETWEEN.join(texts))


def _with_short_ids(message: ChatMessage) -> ChatMessage:
    answered = message.tool_call_id
    return msgspec.structs.replace(
        message,
        tool_calls=[msgspec.structs.replace(call, id=_short(call.id)) for call in message.tool_calls],
        tool_call_id=None if answered is None else _short(answered),
    )


def _short(call_id: str) -> str:
    """Nine letters and digits, the same for the same id."""
    return call_id if _MISTRAL_ID.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()[:9]


def _one_call_at_a_time(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Several calls of one message as messages of their own, each with its result behind it."""
    split: list[ChatMessage] = []
    rest = deque(messages)
    while rest:
        message = rest.popleft()
        if len(message.tool_calls) < 2:
            split.append(message)
            continue
        results: dict[str | None, list[ChatMessage]] = {}
        while rest and rest[0].role == "tool":
            result = rest.popleft()
            results.setdefault(result.tool_call_id, []).append(result)
        for index, call in enumerate(message.tool_calls):
            content = "" if index else message.content
            split.append(msgspec.structs.replace(message, content=content, tool_calls=[call]))
            split += results.pop(call.id, [])
        split += chain.from_iterable(results.values())  # of no call here
    return split


def _without_system(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The system's words as the user's first."""
    if not messages or messages[0].role != "system":
        return messages
    system, *others = messages
    first = msgspec.structs.replace(system, role="user")
    if others and others[0].role == "user":
        return [_joined([first, others[0]]), *others[1:]]
    return [first, *others]
