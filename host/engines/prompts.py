"""Payloads of text work: prompts and token ids, decoded."""

import msgspec

from host.engines.base import RequestRefused
from ipc.errors import ErrorCode
from ipc.messages import ChatPrompt, MediaPart, Prompt

decode_token_ids = msgspec.msgpack.Decoder(list[int]).decode
_decode: "msgspec.msgpack.Decoder[Prompt]" = msgspec.msgpack.Decoder(Prompt)


def decode_prompt(body: bytes | memoryview) -> Prompt:
    """Raises RequestRefused for media: engines that read it decode their prompts themselves."""
    prompt = _decode.decode(body)
    if isinstance(prompt, ChatPrompt):
        for index, message in enumerate(prompt.messages):
            if isinstance(message.content, list):
                if any(isinstance(part, MediaPart) for part in message.content):
                    where = f"messages[{index}].content"
                    raise RequestRefused(ErrorCode.INVALID_VALUE, "this model takes only text", where)
                message.content = message.text
    return prompt


def prompt_param(prompt: Prompt) -> str:
    """The name of the parameter that this kind of prompt came in, for errors."""
    return "messages" if isinstance(prompt, ChatPrompt) else "prompt"
