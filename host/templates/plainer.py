"""A conversation in plainer forms, for chat templates that refuse it or do not show all of it. Pure.

OpenAI takes system messages anywhere, several users in a row and calls of any id; many templates do not.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, takewhile

import msgspec

from host.templates.spelled_out import (
    calls_as_text,
    results_as_text,
    spell_out_stray_results,
    with_question,
    with_text,
)
from ipc.messages import ChatMessage, ToolCall

_BETWEEN = "\n\n"
_NOTHING = " "  # of a message that only separates two others: some templates refuse an empty one
_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")
_OTHER = {"user": "assistant", "assistant": "user"}


def merge_leading_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """System messages that come first as one: several templates show one, and say nothing of the others."""
    first = list(takewhile(lambda message: message.role == "system", messages))
    return [*([_joined(first)] if len(first) > 1 else first), *messages[len(first) :]]


def name_results(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Every result with its function's name, which some templates show and OpenAI's API does not send."""
    names: dict[str | None, str] = {}
    named = []
    for message in messages:
        if message.tool_calls:
            names = {call.id: call.name for call in message.tool_calls}
        if message.role == "tool" and message.name is None and message.tool_call_id in names:
            message = msgspec.structs.replace(message, name=names[message.tool_call_id])
        named.append(message)
    return named


def plainer(messages: Sequence[ChatMessage]) -> Iterator[list[ChatMessage]]:
    """Forms of `messages`, each further from what the client wrote, to be tried in this order.

    All of them hold everything that `messages` says, in its order.
    """
    form = list(messages)
    for simplify in (
        _complete,
        _system_first,
        _in_turns,
        _one_call_at_a_time,
        _text_apart_from_calls,
        _alternating,
        _without_system,
        _calls_as_text,
        _results_as_text,
    ):
        form = simplify(form)
        yield form


def _complete(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Every message with a content, every call with an object of arguments, every result with its call; a
    question."""
    return [
        msgspec.structs.replace(
            message,
            content=message.content or "",
            tool_calls=[
                msgspec.structs.replace(call, arguments=_object(call)) for call in message.tool_calls
            ],
        )
        for message in with_question(spell_out_stray_results(messages))
    ]


def _object(call: ToolCall) -> str:
    try:
        arguments = json.loads(call.arguments) if call.arguments.strip() else {}
    except (ValueError, RecursionError):
        arguments = call.arguments
    if isinstance(arguments, dict):
        return call.arguments if arguments else "{}"
    return json.dumps({"arguments": arguments}, ensure_ascii=False)


def _system_first(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Later messages of the system as the user's, where they are: moved to the front, they would lose what
    they refer to, and each of them would invalidate the cached prefix."""
    first = list(takewhile(lambda message: message.role == "system", messages))
    later = [
        msgspec.structs.replace(message, role="user") if message.role == "system" else message
        for message in messages[len(first) :]
    ]
    return [*first, *later]


def _in_turns(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Users and assistants in turns; ids as Mistral wants them."""
    turns: list[list[ChatMessage]] = []
    for message in messages:
        if turns and _is_one_turn(turns[-1][-1], message):
            turns[-1].append(message)
        else:
            turns.append([message])
    return [_with_short_ids(_joined(turn)) for turn in turns]


def _is_one_turn(first: ChatMessage, second: ChatMessage) -> bool:
    return first.role == second.role != "tool" and not first.tool_calls


def _joined(messages: Sequence[ChatMessage]) -> ChatMessage:
    """All at once: one by one, each would copy the text of those before."""
    if len(messages) == 1:
        return messages[0]
    texts = [message.text for message in messages if message.text.strip()]
    return with_text(messages[-1], _BETWEEN.join(texts))


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
            if index:
                message = msgspec.structs.replace(message, content="", reasoning=None)
            split.append(msgspec.structs.replace(message, tool_calls=[call]))
            split += results.pop(call.id, [])
        split += chain.from_iterable(results.values())  # of no call here
    return split


def _text_apart_from_calls(messages: list[ChatMessage]) -> list[ChatMessage]:
    apart: list[ChatMessage] = []
    for message in messages:
        if message.tool_calls and message.text.strip():
            apart.append(msgspec.structs.replace(message, tool_calls=[]))
            apart.append(msgspec.structs.replace(message, content="", reasoning=None))
        else:
            apart.append(message)
    return apart


def _alternating(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Users and assistants strictly in turns, a user first. Messages with calls and results do not count."""
    last = "assistant"
    separated: list[ChatMessage] = []
    for message in messages:
        if message.role == "system" or (message.role == "tool" and separated):
            separated.append(message)
            continue
        counts = message.role in _OTHER and not message.tool_calls
        is_first = last == "assistant" and not any(other.role != "system" for other in separated)
        if (counts and message.role == last) or (is_first and message.role != "user"):
            separated.append(with_text(ChatMessage(_OTHER[last], message.content), _NOTHING))
            last = _OTHER[last]
        is_empty = counts and not message.text.strip()
        separated.append(with_text(message, _NOTHING) if is_empty else message)
        if counts:
            last = message.role
    return separated


def _without_system(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The system's words as the user's first."""
    if not messages or messages[0].role != "system":
        return messages
    system, *others = messages
    first = msgspec.structs.replace(system, role="user")
    if others and others[0].role == "user":
        return [_joined([first, others[0]]), *others[1:]]
    return [first, *others]


def _calls_as_text(messages: list[ChatMessage]) -> list[ChatMessage]:
    return _alternating(_in_turns(calls_as_text(messages)))


def _results_as_text(messages: list[ChatMessage]) -> list[ChatMessage]:
    return _alternating(_in_turns(results_as_text(messages)))
