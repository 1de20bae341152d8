"""What was said so far, and the parameters of the next request. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

Message = dict[str, Any]


class Parameters(msgspec.Struct):
    """Of the requests of a conversation. None leaves the choice to the model and the server."""

    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    seed: int | None = None
    think: bool | None = None
    json_object: bool = False  # answers must be JSON


_SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed")


class Attachment(msgspec.Struct, frozen=True):
    """A file of the user: a text, or an image as a data URL."""

    name: str
    text: str = ""
    image: str = ""


class Conversation:
    """The messages of a conversation with one model."""

    def __init__(self, model: str, parameters: Parameters) -> None:
        self.model = model
        self.parameters = parameters
        self.keep_history = True
        self.messages: list[Message] = []

    def body(self, question: Message) -> dict[str, Any]:
        """The request that asks `question` after everything before it."""
        parameters = self.parameters
        system = [{"role": "system", "content": parameters.system}] if parameters.system else []
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, *self.messages, question],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        values = {name: getattr(parameters, name) for name in _SAMPLING}
        body |= {name: value for name, value in values.items() if value is not None}
        if parameters.think is not None:
            body["chat_template_kwargs"] = {"enable_thinking": parameters.think}
        if parameters.json_object:
            body["response_format"] = {"type": "json_object"}
        return body

    def keep(self, question: Message, answer: str) -> None:
        """Remember a turn. One without an answer is as if it had not been asked."""
        if self.keep_history and answer:
            self.messages += [question, {"role": "assistant", "content": answer}]

    def clear(self) -> None:
        self.messages.clear()


def question_of(text: str, attachments: list[Attachment]) -> Message:
    """The user's message: files first, since a question about them is understood better after them."""
    texts = [f"{file.name}:\n```\n{file.text}\n```" for file in attachments if file.text]
    whole = "\n\n".join([*texts, text] if text else texts)
    images = [file.image for file in attachments if file.image]
    if not images:
        return {"role": "user", "content": whole}
    parts: list[Mapping[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": whole}] if whole else parts}
