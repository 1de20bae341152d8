"""What one choice of a turn makes of its outputs, without a host."""

from typing import Any

import msgspec

from frontend.api.prompting import AnswerPlan
from frontend.api.schema.tools import FunctionTool
from frontend.api.turns import Finished, Tokens, Turn
from frontend.parsing import detect
from frontend.parsing.events import Content
from frontend.tasks.generation import Generation
from frontend.tasks.text import Output, SequenceSpec
from ipc.messages import Sampling, TextPrompt

PLAN = AnswerPlan(
    dialect=detect("<tool_call>"), tools=[FunctionTool(name="f")], calls_are_certain=False, grammar=""
)


def turn_of(*outputs: Output, **asked: Any) -> Turn:
    sampling = Sampling(**asked)
    generation = Generation([SequenceSpec(TextPrompt("p"), PLAN.sampling(sampling))], 0.0, lambda _: None)
    turn = Turn(generation, PLAN, [sampling], reports_tokens=False)
    for output in outputs:
        generation.push(output)
    return turn


def token(text: str, **fields: Any) -> Output:
    output = Output(0, text, token_ids=[1], logprobs=[-1.0], token_bytes=[text.encode()])
    return msgspec.structs.replace(output, **fields)


def test_the_part_of_a_token_before_a_stop_string_has_its_log_probability():
    for outputs in ([token("abSTOP")], [token("abS"), token("TOP c")], [token("ab"), token("STOP")]):
        events = [event for _, event in turn_of(*outputs, stop=["STOP"], logprobs=True).take()]
        content = "".join(event.text for event in events if isinstance(event, Content))
        scored = b"".join(data for event in events if isinstance(event, Tokens) for data in event.token_bytes)
        assert (content, scored) == ("ab", b"ab")
        assert events[-1] == Finished("stop", "STOP")
