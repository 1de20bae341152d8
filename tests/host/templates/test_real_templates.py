"""Real chat templates × conversations that OpenAI's API takes: none is refused, nothing is lost."""

import json
import random
import re
from collections.abc import Iterator
from itertools import count, pairwise

import pytest

from host.templates.rendering import ChatTemplate
from ipc.messages import ChatMessage, ChatPrompt, ToolCall
from tests.models.templates import real_templates

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": "A function.",
                "parameters": {"type": "object", "properties": {"key": {"type": "string"}}},
            },
        }
        for name in ("Zweather", "Ztime")
    ]
)
# s, u, a: a text of the system, user or assistant; e: none of the assistant; k: one with reasoning;
# c, d, x: a call, two, or one beside a text, with all results; m: two calls with one result;
# p: a call without; r: a result of no call; l: a call with empty arguments.
KINDS = "suaecdxmprkl"
_WORD = re.compile(r"Z[a-z]+\d+z")


def messages_of(kinds: str) -> list[ChatMessage]:
    """Every text, argument and result has a word of its own."""
    numbers = count()

    def word(kind: str) -> str:
        return f'Z{kind}{next(numbers)}z "{kind}"\n'

    def call(arguments: str | None = None) -> ToolCall:
        name, text = ("Zweather", "Ztime")[next(numbers) % 2], {"key": word("argument"), "number": 3}
        return ToolCall(
            f"call_{next(numbers):020}", name, json.dumps(text) if arguments is None else arguments
        )

    def turn(kind: str) -> Iterator[ChatMessage]:
        if kind in "sua":
            yield ChatMessage({"s": "system", "u": "user", "a": "assistant"}[kind], word(kind))
        elif kind == "e":
            yield ChatMessage("assistant", None, reasoning=word("thought"))
        elif kind == "k":
            yield ChatMessage("assistant", word("answer"), reasoning=word("thought"))
        elif kind == "r":
            yield ChatMessage("tool", word("stray"), tool_call_id="call_of_none")
        else:
            calls = [call("" if kind == "l" else None) for _ in range(2 if kind in "dm" else 1)]
            yield ChatMessage("assistant", word("beside") if kind == "x" else None, tool_calls=calls)
            for each in calls[: {"p": 0, "m": 1}.get(kind, 2)]:
                yield ChatMessage("tool", word("result"), tool_call_id=each.id)

    return [message for kind in kinds for message in turn(kind)]


def conversations(seed: int = 20) -> list[str]:
    """Every kind alone, and after every other."""
    kinds = random.Random(seed).sample(KINDS, len(KINDS))
    after = [[first, *(first + second for second in kinds[at + 1 :])] for at, first in enumerate(kinds)]
    chain = "".join(piece for pieces in after for piece in pieces) + kinds[0]  # every pair once
    return [*KINDS, *(chain[at : at + 9] for at in range(0, len(chain), 8))]


def said(messages: list[ChatMessage]) -> list[set[str]]:
    """The words that a prompt must show, by message and its results. Earlier reasoning may be left out."""
    groups: list[set[str]] = []
    for message in messages:
        if message.role == "system":
            continue
        if message.role != "tool" or not groups:
            groups.append(set())
        groups[-1] |= {found for text in _texts(message) for found in _WORD.findall(text)}
    return groups


def _texts(message: ChatMessage) -> list[str]:
    return [message.text, *(call.arguments for call in message.tool_calls)]


def problems(template: ChatTemplate, kinds: str, tools: str) -> Iterator[str]:
    messages = messages_of(kinds)
    text = template.render(ChatPrompt(messages, tools))
    shown = [found for found in _WORD.findall(text) if "thought" not in found]
    wanted = {found for message in messages for each in _texts(message) for found in _WORD.findall(each)}
    if missing := wanted - set(shown):
        yield f"{kinds}: lost {sorted(missing)}"
    places = [[shown.index(found) for found in group if found in shown] for group in said(messages)]
    ordered = [group for group in places if group]
    if any(max(first) > min(second) for first, second in pairwise(ordered)):
        yield f"{kinds}: out of order"
    calls = [call.name for message in messages for call in message.tool_calls]
    if any(text.count(name) < calls.count(name) for name in set(calls)):
        yield f"{kinds}: lost a call"
    if tools and not all(name in text for name in ("Zweather", "Ztime")):
        yield f"{kinds}: lost the tools"


@pytest.mark.parametrize("name", sorted(real_templates()))
def test_no_conversation_is_refused_and_nothing_of_it_is_lost(name: str) -> None:
    template = ChatTemplate(real_templates()[name], SPECIAL)
    found: list[str] = []
    for number, kinds in enumerate(conversations()):
        found += problems(template, kinds, TOOLS if number % 2 else "")
    assert not found, found[:5]


def test_the_conversations_hold_every_kind_after_every_other() -> None:
    everything = " ".join(conversations())
    assert {first + second for first in KINDS for second in KINDS} <= {
        first + second for first, second in pairwise(everything)
    }
