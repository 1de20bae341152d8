"""Where images go in a prompt, whatever form of content a chat template wants."""

import re
from pathlib import Path

import msgspec
import openvino_genai as genai
import pytest

from host.detokenizer import choose_detokenizer
from host.engines.base import RequestRefused
from host.engines.vision_prompts import VisionPromptReader
from host.model_folder import read_model_folder
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, MediaPart, TextPart, TextPrompt
from tests.host.test_images import encoded, plain

TEXT_ONLY = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
)
PARTS_ONLY = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}<image>{% endfor %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
)
WITHOUT_TOOLS = (
    "{% for m in messages if m['role'] != 'tool' %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
)
IMAGE = MediaPart("image/png", encoded(plain()))


@pytest.fixture(scope="module")
def reader_with(vision_ir: Path):
    """From a chat template to a reader."""
    folder, tokenizer = read_model_folder(vision_ir), genai.Tokenizer(vision_ir)
    detokenizer = choose_detokenizer(tokenizer)

    def text_of(ids: list[int]) -> str:
        stream = detokenizer.open(False)
        (text,) = detokenizer.feed([(stream, ids)])
        return text + detokenizer.finish(stream)

    def build(template: str = "") -> VisionPromptReader:
        given = msgspec.structs.replace(folder, chat_template=template or folder.chat_template)
        return VisionPromptReader(tokenizer, given, detokenizer.longest_token, text_of)

    return build


def user(*parts: str | MediaPart) -> ChatMessage:
    return ChatMessage("user", [TextPart(p) if isinstance(p, str) else p for p in parts])


@pytest.mark.parametrize("template", [TEXT_ONLY, PARTS_ONLY], ids=["text", "parts"])
def test_order_is_kept_whatever_the_template_takes(reader_with, template):
    reader = reader_with(template)
    prompt = ChatPrompt([ChatMessage("system", "Be brief."), user("a", IMAGE, "b", "c", IMAGE), user("d")])
    read = reader.read(prompt)
    assert read.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\na<ov_genai_image_0>b\nc<ov_genai_image_1><|im_end|>\n"
        "<|im_start|>user\nd<|im_end|>\n"
    )
    assert read.images == (IMAGE, IMAGE)
    pieces = re.split(r"<ov_genai_image_\d>", read.text)
    assert read.ids == [number for piece in pieces for number in reader.read(TextPrompt(piece)).ids]


@pytest.mark.parametrize("template", [TEXT_ONLY, PARTS_ONLY], ids=["text", "parts"])
def test_a_message_may_be_continued(reader_with, template):
    prompt = ChatPrompt([user(IMAGE), ChatMessage("assistant", "It is")], continue_final_message=True)
    assert reader_with(template).read(prompt).text.endswith("<|im_start|>assistant\nIt is")


def test_an_image_that_the_template_leaves_out_is_an_error(reader_with):
    message = ChatMessage("tool", [IMAGE], tool_call_id="c")
    with pytest.raises(RequestRefused) as caught:
        reader_with("{{ messages | length }}").read(ChatPrompt([ChatMessage("user", "?"), message]))
    assert caught.value.error.code is ErrorCode.CHAT_TEMPLATE_FAILED
    assert "does not show an image" in str(caught.value)


def test_an_image_of_a_result_is_shown_as_the_users_where_a_template_leaves_results_out(reader_with):
    message = ChatMessage("tool", [IMAGE], tool_call_id="c")
    read = reader_with(WITHOUT_TOOLS).read(ChatPrompt([ChatMessage("user", "?"), message]))
    assert read.images == (IMAGE,)
    assert "user: ?" in read.text


@pytest.mark.parametrize(
    "tag",
    [
        "<image>",
        "</image>",
        "<IMG_CONTEXT>",
        "<|image_1|>",
        "<|image_pad|>",
        "<|vision_start|>",
        "<start_of_image>",
        "<image_soft_token>",
        "<ov_genai_image_0>",
        "<ov_genai_video_3>",
    ],
)
def test_a_typed_tag_is_broken_without_a_visible_change(reader_with, tag):
    escaped = reader_with().escape(f"a {tag} b")
    assert tag not in escaped
    assert escaped.replace("\u200b", "") == f"a {tag} b"


@pytest.mark.parametrize(
    "text", ["1 < 2 image > 0", '<img src="a.png">', "<b>bold</b>", "<think>", "an image"]
)
def test_other_text_is_left_alone(reader_with, text):
    assert reader_with().escape(text) == text


def test_generated_tokens_are_put_back_as_far_as_their_text_gives_them_again(reader_with):
    reader = reader_with()
    ids = reader.read(TextPrompt(" The sky is blue")).ids
    assert reader.continued("Well:", ids) == ("Well: The sky is blue", len(ids))
    party = reader.read(TextPrompt(" \U0001f389")).ids
    assert reader.continued("Well:", [*ids, *party[:-1]])[1] <= len(ids) + 1  # within a character
    letters = [reader.read(TextPrompt(letter)).ids[0] for letter in "sky"]  # one token, as a word
    assert reader.continued("Well: ", [*ids, *letters])[1] == len(ids)
    assert reader.continued("Well:", []) == ("Well:", 0)
