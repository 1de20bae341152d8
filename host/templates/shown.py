"""Whether a rendered prompt shows everything that a conversation says. Pure.

Templates trim, escape and encode what they show. The search is cheap where they leave texts as they are.
"""

import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ipc.messages import ChatMessage, TextPart, ToolCall

_ESCAPED = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|[nrtbf])|\\+")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MOST_LEAVES = 1000  # of a call's arguments, that are looked for one by one
_NEAR = 1000  # characters that a template may write between two texts
# What a template may take out of an answer: the reasoning, up to one of these.
_END_OF_REASONING = re.compile(
    r"</(?:\w+:)?(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|END_THINKING\|>|<channel\|>"
)
# What a template may take out of any text, because it switches something.
_SWITCH = re.compile(r"/(?:no_?)?think\b|/system_override\b")


class _Search(NamedTuple):
    text: str
    spell: Callable[[str], str]  # how the text that is searched would show it

    def find(self, wanted: str, start: int, far: bool = True) -> int:
        """The end of `wanted` behind `start`; -1 if it is not there. Not `far`: only nearby."""
        spelled = self.spell(wanted)
        found = self._find(spelled, start, start + len(spelled) + _NEAR)
        if found < 0:
            escaped = json.dumps(spelled, ensure_ascii=False)[1:-1]
            found = self._find(escaped, start, start + len(escaped) + _NEAR)
        if found < 0 and far:
            found = self._find(spelled, start, len(self.text))
        return found

    def _find(self, spelled: str, start: int, stop: int) -> int:
        found = self.text.find(spelled, start, stop)
        return found if found < 0 else found + len(spelled)


def count_missing(messages: Sequence[ChatMessage], text: str) -> int:
    """How many texts, calls and results of `messages` the prompt `text` does not show in their order.

    System messages may appear anywhere; an assistant's calls and their results in any order.
    """
    if not any(_missing(messages, _Search(text, str.strip))):
        return 0
    return sum(_missing(messages, _Search(_plain(text), _plain)))


def count_said(messages: Sequence[ChatMessage]) -> int:
    """How many there are to be shown."""
    return sum(len(_texts(message)) + len(message.tool_calls) for message in messages)


def _plain(text: str) -> str:
    """The text without white space, and without what escapes characters in JSON, Python and HTML."""
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPED.sub(_unescaped, text)
    if _SURROGATE.search(text):  # two escapes may be one character
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = "".join(text.split())
    return _INVISIBLE.sub("", text)


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code, 16)) if code else ""


def _missing(messages: Sequence[ChatMessage], search: _Search) -> Iterator[bool]:
    """By text, call and result."""
    start = end = 0  # of what may show the messages since the last that is no result
    for message in messages:
        if message.role == "system":
            for text in _texts(message):
                yield search.find(text, 0) < 0
            continue
        if message.role != "tool":
            start = end
        pieces: list[str | ToolCall] = [*_texts(message), *message.tool_calls]
        for wanted in pieces:
            # A search through all of the rest takes long if it is in vain.
            found = _find(wanted, message.role, search, end, far=start == end)
            if found < 0 and start < end:
                found = _find(wanted, message.role, search, start, far=True)
            yield found < 0
            end = max(end, found)


def _texts(message: ChatMessage) -> list[str]:
    if isinstance(message.content, list):
        return [part.text for part in message.content if isinstance(part, TextPart) and part.text.strip()]
    return [message.content] if message.content and message.content.strip() else []


def _find(wanted: str | ToolCall, role: str, search: _Search, start: int, far: bool) -> int:
    """The end of a text or call behind `start`; -1 if it is not there."""
    if isinstance(wanted, ToolCall):
        return _find_call(wanted, search, start, far)
    found = search.find(wanted, start, far)
    if found < 0 and role == "assistant":
        *_, answer = _END_OF_REASONING.split(wanted)
        found = search.find(answer, start, far)
    if found < 0 and _SWITCH.search(wanted):
        ends = [search.find(part, start, far) for part in _SWITCH.split(wanted)]
        found = -1 if min(ends) < 0 else max(ends)
    return found


def _find_call(call: ToolCall, search: _Search, start: int, far: bool) -> int:
    named = search.find(call.name, start, far)
    if named < 0:
        return named
    found = search.find(call.arguments, start, far=False)
    try:
        arguments = json.loads(call.arguments) if found < 0 else None
    except (ValueError, RecursionError):
        return search.find(call.arguments, start)
    if found < 0:
        found = search.find(json.dumps(arguments, ensure_ascii=False), start, far=False)
    if found >= 0:
        return max(named, found)
    at = end = named
    for leaf in islice(_leaves(arguments), _MOST_LEAVES):
        found = search.find(leaf, at)
        if found < 0:  # the template may sort them
            found = search.find(leaf, named)
        if found < 0:
            return -1
        at, end = found, max(end, found)
    return end


def _leaves(value: Any) -> Iterator[str]:
    """What any spelling of arguments shows."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
    elif not isinstance(value, bool) and value is not None:
        yield json.dumps(value)
