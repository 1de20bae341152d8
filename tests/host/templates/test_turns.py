"""Turn markers, found in the templates of real model families."""

import pytest

from host.templates.rendering import ChatTemplate
from host.templates.turns import NO_TURNS, TurnMarkers, find_turn_markers
from tests.models.templates import FAMILIES, chat_template

CHATML = {"<|im_start|>", "<|im_end|>"}
# Special tokens of many families in one vocabulary; ends of text and parts of answers among them.
SPECIAL = dict(
    enumerate(
        [
            "<s>",
            "</s>",
            "<|endoftext|>",
            "<|begin_of_text|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|eom_id|>",
            "<|python_tag|>",
            "[INST]",
            "[/INST]",
            "[TOOL_CALLS]",
            "<start_of_turn>",
            "<end_of_turn>",
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "<|start|>",
            "<|end|>",
            "<|message|>",
            "<|channel|>",
            "<|call|>",
            "<|begin_user|>",
            "<|user|>",
            "<|assistant|>",
            "<|system|>",
        ]
    )
)
PARTS_OF_ANSWERS = ("think", "tool", "TOOL", "python", "channel", "message", "call")


def markers(source: str, special: dict[int, str] = SPECIAL) -> TurnMarkers:
    return find_turn_markers(ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"}), special)


def texts(found: TurnMarkers) -> set[str]:
    return {SPECIAL[number] for number in found.token_ids}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("qwen3", CHATML),
        ("qwen2.5", CHATML),
        ("qwen3-coder", CHATML),
        ("smollm3", CHATML),
        ("llama3.1", {"<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"}),
        ("mistral-nemo", {"</s>", "[INST]"}),
        ("gemma2", {"<end_of_turn>", "<start_of_turn>"}),
        ("phi3.5", {"<|end|>", "<|user|>", "<|system|>"}),
        ("glm4.6", {"<|user|>", "<|system|>"}),
        ("gpt-oss", set()),  # one answer holds several of its messages
    ],
)
def test_the_tokens_between_turns_are_found(family: str, expected: set[str]) -> None:
    assert texts(markers(chat_template(family))) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_no_part_of_an_answer_is_ever_taken_for_a_turn(family: str) -> None:
    found = markers(chat_template(family))
    assert not [text for text in texts(found) if any(part in text for part in PARTS_OF_ANSWERS)]
    assert found.strings == ()  # all of them have special tokens


@pytest.mark.parametrize(
    ("user", "end", "expected"),
    [
        ("<|user|>\n", "</s>\n", ("<|user|>",)),
        ("### User:\n", "\n\n", ("\n### User:",)),
        ("### Instruction:\n", "</s>\n", ("\n### Instruction:",)),
        ("Human: ", "\n\n", ("\nHuman:",)),
        ("USER: ", " ", ()),  # in the middle of a line it could be anything
        ("user\n", "\n", ()),
        ("- ", "\n", ()),
        ("### Tool:\n", "\n", ()),
    ],
)
def test_a_user_marker_of_mere_text_is_a_stop_string_where_it_cannot_be_mistaken(
    user: str, end: str, expected: tuple[str, ...]
) -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ user }}{{ m.content }}{{ '\\n' }}"
        "{% else %}A: {{ m.content }}{{ end }}{% endif %}{% endfor %}"
    ).replace("{{ user }}", user.replace("\n", "{{ '\\n' }}"))
    source = source.replace("{{ end }}", end.replace("\n", "{{ '\\n' }}"))
    assert markers(source, {0: "<s>", 1: "</s>"}).strings == expected


def test_a_template_that_refuses_everything_has_no_markers() -> None:
    assert markers("{{ raise_exception('no') }}") == NO_TURNS
    assert markers("{{ messages[7].content }}") == NO_TURNS
