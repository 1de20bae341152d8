"""The scripted models write what they are told, with the engine that serves them."""

import json

import msgspec
import pytest

from host.engines.text import TextEngine
from host.engines.text_loading import load_text_engine
from host.results import Results
from ipc.errors import RequestError
from ipc.messages import Delta, Failed, Generate, Reply, Sampling, TextInput
from tests.host.harness import chat, launch_of
from tests.models.scripted import scripted_model
from tests.models.scripted_vocabulary import Form

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
SCRIPTS = {
    "": "<think>\nHmm.\n</think>\n\nHello there, hello there, hello there! 😀 é",
    "paris": f"<think>\nCall it.\n</think>\n\n{CALL}\n{CALL}\n{CALL}",
    "sunny": "It is sunny.\nGo out.",
    "marks": "<|start|>a<|message|>b<|end|><|start|>a<|message|>b<|end|><|start|>a<|message|>",
}


def write(engine: TextEngine, content: str, grammar: str = "") -> str | RequestError:
    body = msgspec.msgpack.encode(TextInput(chat(content), grammar))
    sampling = Sampling(max_tokens=500, temperature=1.5, skip_special_tokens=False)
    replies: list[Reply | Failed] = [*engine.submit(Generate(1, b"", sampling), body)]
    while engine.busy:
        replies += engine.step()
    for reply in replies:
        if isinstance(reply, Failed):
            return reply.error
    deltas = [reply for reply in replies if isinstance(reply, Delta)]
    assert deltas[-1].finish is not None and deltas[-1].finish.reason == "stop"
    assert len(deltas) > 3
    return "".join(delta.text for delta in deltas).removesuffix("<|im_end|>")


@pytest.mark.parametrize("vocabulary", ["byte-level", "sentencepiece"])
def test_the_last_script_whose_key_is_in_the_prompt_is_written(vocabulary: Form) -> None:
    folder = scripted_model(SCRIPTS, TEMPLATE, vocabulary)
    engine = load_text_engine(launch_of(folder, properties={}), Results.__new__(Results))
    assert write(engine, "Hi!") == SCRIPTS[""]
    assert write(engine, "How is the weather in paris?") == SCRIPTS["paris"]
    assert write(engine, 'paris: {"weather":"sunny"}') == SCRIPTS["sunny"]
    assert write(engine, "Such marks!" + " What a long prompt." * 300) == SCRIPTS["marks"]


def test_a_script_that_a_grammar_allows_is_written_under_it() -> None:
    text = json.dumps({"city": "Paris", "days": [1, 2]})
    engine = load_text_engine(
        launch_of(scripted_model(text, TEMPLATE), properties={}), Results.__new__(Results)
    )
    grammar = {"type": "json_schema", "json_schema": {"type": "object"}}
    assert write(engine, "Hi!", json.dumps(grammar)) == text
