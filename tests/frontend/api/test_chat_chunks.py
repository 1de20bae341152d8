"""The chunks of a streamed chat completion, as the `openai` client accumulates them."""

from typing import Any

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from frontend.api.chat_answer import ChatChunks, heartbeat
from frontend.api.completions_answer import heartbeat as text_heartbeat
from frontend.api.generating import Identity
from frontend.api.schema.chat import ChatRequest, MessageBody
from frontend.api.schema.completions import CompletionRequest
from frontend.api.turns import Finished, TurnEvent, TurnUsage
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning

STOP = Finished("stop")
CALL: list[TurnEvent] = [CallBegun(0, "f"), CallArguments(0, "{}"), Finished("tool_calls")]
SAID: list[TurnEvent] = [Reasoning("hm"), Content("Hi"), STOP]
BODY = ChatRequest(model="m", messages=[MessageBody(role="user", content="hi")])


class Told:
    """A turn as far as the chunks look at it."""

    usage = TurnUsage(1, 1)

    def __init__(self, choices: int = 1) -> None:
        self.prompt_token_ids: list[int] = []
        self.choices = choices

    def call_id(self, choice: int, call: int) -> str:
        return f"call_{choice}_{call}"


def chunks(events: list[TurnEvent], silences: int = 0) -> list[ChatCompletionChunk]:
    identity = Identity.new("chatcmpl", "m")
    data = heartbeat(identity, BODY) * silences
    turn: Any = Told()
    answer = ChatChunks(identity, turn, BODY)
    data += answer.opening
    for event in events:
        data += answer.encode([(0, event)]) + heartbeat(identity, BODY) * silences
    lines = (data + answer.ending()).decode().split("\n\n")[:-1]
    return [ChatCompletionChunk.model_validate_json(line.removeprefix("data: ")) for line in lines]


def contents(events: list[TurnEvent]) -> list[str | None]:
    """Of the deltas that have a content, null or not."""
    deltas = [chunk.choices[0].delta for chunk in chunks(events)]
    return [delta.content for delta in deltas if "content" in delta.model_fields_set]


def test_the_first_chunk_has_the_role() -> None:
    for events in (SAID, SAID[1:], CALL, SAID[2:]):
        roles = [chunk.choices[0].delta.role for chunk in chunks(events)]
        assert roles == ["assistant", *[None] * len(events)]


def test_a_turn_of_calls_has_no_text_not_even_an_empty_one() -> None:
    assert contents(CALL) == [None]
    assert contents([Reasoning("hm"), *CALL]) == [None]
    assert contents([Content("Hi"), *CALL]) == ["", "Hi"]
    assert contents([Reasoning("hm"), Content("Hi"), STOP]) == [None, "Hi"]
    assert contents([STOP]) == [""]


def test_each_choice_gets_its_role_once() -> None:
    turn: Any = Told(choices=2)
    answer = ChatChunks(Identity.new("chatcmpl", "m"), turn, BODY)
    data = answer.encode([(1, Content("b")), (0, CALL[0])]) + answer.encode([(1, STOP), (0, CALL[2])])
    lines = data.decode().split("\n\n")[:-1]
    choices = [
        ChatCompletionChunk.model_validate_json(line.removeprefix("data: ")).choices[0] for line in lines
    ]
    assert [(choice.index, choice.delta.content) for choice in choices if choice.delta.role] == [
        (1, ""),
        (0, None),
    ]


def test_signs_of_life_change_nothing_of_what_the_client_accumulates() -> None:
    for events in (CALL, SAID):
        answers = []
        for silences in (0, 2):
            state = ChatCompletionStreamState(input_tools=openai.omit, response_format=openai.omit)
            for chunk in chunks(events, silences):
                state.handle_chunk(chunk)
            answers.append(state.get_final_completion().choices)
        assert answers[0] == answers[1]


def test_a_sign_of_life_adds_no_text() -> None:
    identity = Identity.new("cmpl", "m")
    assert b'"delta":{}' in heartbeat(identity, BODY)
    assert b'"text":""' in text_heartbeat(identity, CompletionRequest(model="m", prompt="hi"))
