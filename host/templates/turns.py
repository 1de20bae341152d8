"""Turn markers: what a chat template writes between an assistant's text and the user's next.

A model that writes one of them has begun to speak for the user.
"""

import re
from collections.abc import Mapping

import msgspec

from host.engines.base import RequestRefused
from host.templates.rendering import ChatTemplate
from ipc.messages import ChatMessage, ChatPrompt, ToolCall

# Contents that no template changes or mentions.
_SYSTEM, _USER, _ASSISTANT, _NEXT, _NAME = "Zsystem1", "Zuser1", "Zassistant1", "Zuser2", "zfunction1"
# Parts of one answer have markers of their own, which are never ends.
_INSIDE = re.compile(
    r"think|thought|reason|tool|call|func|python|channel|message|constrain|image|audio", re.I
)
_BRACKETED = re.compile(r"<[|/]?\w+\|?>|\[/?[A-Z_]{3,}\]")
_HEADING = re.compile(r"#+ ?\w[\w ]*:|\w+:")


class TurnMarkers(msgspec.Struct, frozen=True):
    """Stop criteria."""

    token_ids: frozenset[int] = frozenset()
    strings: tuple[str, ...] = ()


NO_TURNS = TurnMarkers()


def find_turn_markers(template: ChatTemplate, special: Mapping[int, str]) -> TurnMarkers:
    """`special`: the special tokens' texts. A template that cannot render a small conversation has none."""
    between = _between(template)
    inside = _inside(template)
    begin = _before_system(template)
    marks = {
        number: text
        for number, text in special.items()
        if text.strip() and text in between + begin and text not in inside and not _INSIDE.search(text)
    }
    written = [number for number, text in special.items() if text.strip() and text in between]
    strings = () if len(written) > 1 else _strings(between, [special[number] for number in written])
    return TurnMarkers(frozenset(marks), strings)


def _between(template: ChatTemplate) -> str:
    """From the end of an assistant's text to the beginning of the user's next."""
    conversation = [
        ChatMessage("user", _USER),
        ChatMessage("assistant", _ASSISTANT),
        ChatMessage("user", _NEXT),
    ]
    return _part(_rendered(template, conversation), _ASSISTANT, _NEXT)


def _before_system(template: ChatTemplate) -> str:
    """What opens a system's turn, without what opens every prompt."""
    text = _rendered(template, [ChatMessage("system", _SYSTEM), ChatMessage("user", _USER)])
    bare = _rendered(template, [ChatMessage("user", _USER)])
    opening = text.partition(_SYSTEM)[0] if _SYSTEM in text else ""
    same = next((at for at, (a, b) in enumerate(zip(opening, bare, strict=False)) if a != b), len(opening))
    cut = opening.rfind("<", 0, same)  # not in the middle of a marker
    return opening[max(cut, 0) :] if same < len(opening) else ""


def _inside(template: ChatTemplate) -> str:
    """What one answer holds between its parts: text or reasoning or both, then a call."""
    call = ToolCall("call00001", _NAME, "{}")
    parts = ""
    for content, reasoning in ((_ASSISTANT, None), (None, _ASSISTANT), (_ASSISTANT, _ASSISTANT)):
        conversation = [
            ChatMessage("user", _USER),
            ChatMessage("assistant", content, tool_calls=[call], reasoning=reasoning),
            ChatMessage("tool", "0", tool_call_id=call.id),
        ]
        parts += _part(_rendered(template, conversation), _ASSISTANT, _NAME)
    return parts


def _rendered(template: ChatTemplate, messages: list[ChatMessage]) -> str:
    try:
        return template.render_unchanged(ChatPrompt(messages, add_generation_prompt=False))
    except RequestRefused:
        return ""


def _part(text: str, after: str, before: str) -> str:
    """What stands between the first `after` and the last `before`; empty if they are not there."""
    start, end = text.find(after), text.rfind(before)
    return text[start + len(after) : end].replace(after, "") if 0 <= start < end else ""


def _strings(between: str, specials: list[str]) -> tuple[str, ...]:
    """The user's marker where it is mere text: bracketed, or a heading on a line of its own."""
    for special in specials:
        between = between.replace(special, "")
    marker = between.strip()
    if _INSIDE.search(marker):
        return ()
    if _BRACKETED.fullmatch(marker):
        return (marker,)
    return ("\n" + marker,) if _HEADING.fullmatch(marker) and "\n" in between.partition(marker)[0] else ()
