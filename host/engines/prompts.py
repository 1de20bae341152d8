"""Payloads of text work: prompts and token ids, decoded."""

import msgspec

from host.engines.base import Body, RequestRefused
from ipc.errors import ErrorCode
from ipc.messages import ChatPrompt, MediaPart, Prompt, TextInput

decode_token_ids = msgspec.msgpack.Decoder(list[int]).decode
_prompt: "msgspec.msgpack.Decoder[Prompt]" = msgspec.msgpack.Decoder(Prompt)
_input = msgspec.msgpack.Decoder(TextInput)


def decode_prompt(body: Body, takes_images: bool = False) -> Prompt:
    """The payload of Tokenize. Raises RequestRefused as `decode_input`."""
    prompt = _prompt.decode(body)
    return prompt if takes_images else _text_only(prompt)


def decode_input(body: Body, takes_images: bool = False) -> TextInput:
    """The payload of Generate. Raises RequestRefused for images, unless the engine takes them."""
    given = _input.decode(body)
    if not takes_images:
        given.prompt = _text_only(given.prompt)
    return given


def _text_only(prompt: Prompt) -> Prompt:
    if isinstance(prompt, ChatPrompt):
        for index, message in enumerate(prompt.messages):
            if isinstance(message.content, list):
                if any(isinstance(part, MediaPart) for part in message.content):
                    where = f"messages[{index}].content"
                    raise RequestRefused(
                        ErrorCode.INVALID_VALUE, "this model takes only text, no images", where
                    )
                message.content = message.text
    return prompt


def prompt_param(prompt: Prompt) -> str:
    """The name of the parameter that this kind of prompt came in, for errors."""
    return "messages" if isinstance(prompt, ChatPrompt) else "prompt"
