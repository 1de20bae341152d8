"""What requests of chat and generate ask a turn for."""

import json

import msgspec
import pytest

from frontend.api.ollama.requests import ChatRequest, GenerateRequest
from frontend.api.ollama.specs import output_format_of, turn_of_chat, turn_of_generate
from frontend.api.ollama.thinking import check_thinks
from frontend.errors import BadRequest
from ipc.messages import MediaPart, TextPart


def chat(*messages, **fields):
    body = {"model": "m", "messages": list(messages), **fields}
    return turn_of_chat(msgspec.convert(body, ChatRequest))


def generate(prompt="Hi", **fields):
    return turn_of_generate(msgspec.convert({"model": "m", "prompt": prompt, **fields}, GenerateRequest))


def user(content="Hi", **fields):
    return {"role": "user", "content": content, **fields}


def call(name, **fields):
    return {"function": {"name": name, "arguments": {"x": 1}}, **fields}


def test_streaming_is_the_default():
    assert chat(user()).streaming
    assert not chat(user(), stream=False).streaming


def test_a_last_message_of_the_assistant_is_continued():
    spec = chat(user(), {"role": "assistant", "content": "It is"})
    assert (spec.continue_final_message, spec.add_generation_prompt) == (True, False)
    spec = chat(user())
    assert (spec.continue_final_message, spec.add_generation_prompt) == (False, True)
    assert not chat(user(), {"role": "assistant", "tool_calls": [call("f")]}).continue_final_message


def test_images_precede_the_text_and_keep_their_fields():
    spec = chat(user(), user("What?", images=["QUJD", "data:image/png;base64,QUJD"]))
    assert [type(part) for part in spec.messages[1].content] == [MediaPart, MediaPart, TextPart]
    assert [image.field for image in spec.images] == ["messages[1].images[0]", "messages[1].images[1]"]
    assert all(image.url.startswith("data:image/") for image in spec.images)


def test_an_address_is_no_image():
    [image] = generate(images=["http://example.com/x.png"]).images
    assert image.url.startswith("data:")


def test_results_find_their_calls():
    spec = chat(
        user(),
        {"role": "assistant", "tool_calls": [call("f"), call("g"), call("f", id="mine")]},
        {"role": "tool", "tool_name": "g", "content": "of g"},
        {"role": "tool", "content": "of f"},
        {"role": "tool", "tool_call_id": "mine", "content": "of mine"},
        {"role": "tool", "content": "of nothing"},
    )
    made = [made.id for made in spec.messages[1].tool_calls]
    assert len(set(made)) == 3
    assert made[2] == "mine"
    answered = [message.tool_call_id for message in spec.messages[2:]]
    assert answered[:3] == [made[1], made[0], "mine"]
    assert answered[3] not in made
    assert json.loads(spec.messages[1].tool_calls[0].arguments) == {"x": 1}


def test_thinking_is_a_switch_or_an_effort():
    assert chat(user()).reasoning_effort is None
    assert chat(user(), think=False).reasoning_effort == "none"
    assert chat(user(), think="high").reasoning_effort == "high"
    spec = chat(user(), think=True)
    assert (spec.reasoning_effort, spec.template_arguments["enable_thinking"]) == (None, True)
    check_thinks(False, False, "m")
    with pytest.raises(BadRequest, match="does not support thinking"):
        check_thinks("low", False, "m")


def test_a_system_prompt_of_generate_is_a_message():
    spec = generate(system="Be brief.")
    assert [(message.role, message.content) for message in spec.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
    ]


@pytest.mark.parametrize("asked", [None, ""])
def test_no_format_is_text(asked):
    assert output_format_of(asked) is None


def test_formats():
    assert output_format_of("json")
    assert output_format_of({"type": "object", "properties": {"age": {"type": "integer"}}})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"format": "yaml"}, "format"),
        ({"format": 5}, "format"),
        ({"format": {"type": "nothing"}}, "format.type"),
        ({"think": "much"}, "think"),
        ({"suffix": "x"}, "suffix"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "context"),
        ({"raw": True, "system": "x"}, "system"),
        ({"raw": True, "images": ["QUJD"]}, "images"),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as caught:
        generate(**fields)
    assert caught.value.param == param


def test_parameters_that_ask_for_nothing_are_allowed():
    generate(suffix="", template="", context=[], images=[], options={})


def test_older_clients_say_name():
    assert turn_of_generate(GenerateRequest(name="m", prompt="Hi")).model == "m"
    with pytest.raises(BadRequest, match="model is missing"):
        turn_of_generate(GenerateRequest(prompt="Hi"))
