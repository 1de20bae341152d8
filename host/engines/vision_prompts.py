"""Prompts with images: rendered, with the engine's tag where each image belongs, and tokenized."""

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from host.engines.base import RequestRefused
from host.engines.prompt_ids import PromptReader, ReadPrompt
from host.engines.prompts import prompt_param
from host.images import check_images
from host.model_folder import ModelFolder
from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, ContentPart, MediaPart, Prompt, TextPart, TextPrompt

# Tags of GenAI and of all model families name what they stand for, within brackets.
_TAG = re.compile(r"<(?=[^<>\s]{0,48}(?:image|img|vision|visual|video|audio|slice)[^<>\s]{0,48}>)", re.I)
_BREAK = "\u200b"  # a space without width: the tag stays as it was to whoever reads it
_PROBE = "Zprobe1"
_JOINT_CHARACTERS = 256  # of a prompt: what is tokenized with the text that follows it


class VisionPromptReader(PromptReader):
    """Reads chats with images, and text. Token ids are read as the text that they stand for."""

    def __init__(
        self,
        tokenizer: Any,
        folder: ModelFolder,
        longest_token: int | None,
        text_of: Callable[[list[int]], str],
    ) -> None:
        """`text_of`: from token ids to text, special tokens included."""
        super().__init__(tokenizer, folder, longest_token)
        self._text_of = text_of
        self._unknown = folder.special_tokens.get("unk_token", "")
        self._takes_parts = not self._shows(_PROBE)
        plain, special = (self._encode("a", add_special_tokens=add) for add in (False, True))
        self._leading = special[: len(special) - len(plain)] if special[-len(plain) :] == plain else []

    def _shows(self, content: str | list[ContentPart]) -> bool:
        """Whether the chat template writes a content of this form."""
        if self.template is None:
            return True
        try:
            return _PROBE in self.template.render_unchanged(ChatPrompt([ChatMessage("user", content)]))
        except RequestRefused:
            return False

    def read(self, prompt: Prompt, keep: int | None = None) -> ReadPrompt:
        """The prompt as text, with tags for its images, and the token ids of that text without the tags.

        Raises RequestRefused.
        """
        param = prompt_param(prompt)
        if keep is not None:
            raise RequestRefused(
                ErrorCode.INVALID_VALUE,
                "vision models cannot truncate prompts; leave out truncate_prompt_tokens",
                "truncate_prompt_tokens",
            )
        if isinstance(prompt, ChatPrompt):
            return self._read_chat(prompt, param)
        if isinstance(prompt, TextPrompt):
            text = self.escape(prompt.text)
            if self._leading and not prompt.add_special_tokens:
                raise RequestRefused(
                    ErrorCode.INVALID_VALUE,
                    "this model always adds special tokens; leave out add_special_tokens",
                    "add_special_tokens",
                )
        else:
            text = self.escape(self._text_of(prompt.token_ids))
            if self._encode(text, True, None, param) != prompt.token_ids:
                raise RequestRefused(
                    ErrorCode.INVALID_VALUE,
                    "vision models take text, and these token ids are not those of their text; send text",
                    param,
                )
        return ReadPrompt(self._encode(text, True, None, param), self._normalize(text))

    def _read_chat(self, prompt: ChatPrompt, param: str) -> ReadPrompt:
        laid_out = lay_out(prompt.messages, self._takes_parts)
        rendered = self._render(msgspec.structs.replace(prompt, messages=laid_out.messages))
        pieces = laid_out.split(rendered)
        if pieces is None:
            raise RequestRefused(
                ErrorCode.CHAT_TEMPLATE_FAILED,
                "the model's chat template does not show an image where you placed it; put it into a message "
                "of the user",
                param,
            )
        texts = [self._normalize(self.escape(piece)) for piece in pieces]
        texts[0] = self._without_leading(texts[0])
        ids = [number for text in texts for number in self._encode(text, False, None, param)]
        check_images(laid_out.images, param)
        text = texts[0] + "".join(f"{_engine_tag(at)}{text}" for at, text in enumerate(texts[1:]))
        return ReadPrompt([*self._leading, *ids], text, tuple(laid_out.images))

    def _without_leading(self, text: str) -> str:
        """The engine adds the special tokens that a text begins with, which chat templates write as well."""
        return text.removeprefix(self._text_of(self._leading)) if self._leading else text

    def escape(self, text: str) -> str:
        """The text, so that nothing in it is taken for an image."""
        text = _TAG.sub(f"<{_BREAK}", text)
        if self._unknown:  # some models keep the places of images with it
            text = text.replace(self._unknown, f"{self._unknown[0]}{_BREAK}{self._unknown[1:]}")
        return text

    def continued(self, text: str, generated: Sequence[int]) -> tuple[str, int]:
        """A prompt's text with what was generated after it, and how many of those tokens it holds.

        The engine takes text: only tokens that the tokenizer makes of their own text again can be put there.
        """
        ids = list(generated)
        end = text[-_JOINT_CHARACTERS:]
        before = self._encode(end, False) if ids else []
        while ids:
            more = self._normalize(self._text_of(ids))
            if self.escape(more) == more and self._encode(end + more, False) == before + ids:
                return text + more, len(ids)
            ids.pop()
        return text, 0


class _LaidOut(NamedTuple):
    """Messages with a mark in the place of each image."""

    messages: list[ChatMessage]
    images: list[MediaPart]
    nonce: str

    def place(self, parts: Sequence[ContentPart]) -> str:
        """Parts as one text, with marks for the images, which are remembered."""
        content, after_text = "", False
        for part in parts:
            if isinstance(part, MediaPart):
                content += _mark(self.nonce, len(self.images))
                self.images.append(part)
            else:
                content += f"\n{part.text}" if after_text else part.text
            after_text = isinstance(part, TextPart)
        return content

    def split(self, rendered: str) -> list[str] | None:
        """The rendered text around the images; None if one of them is missing, or not in its place."""
        pieces, at = [], 0
        for number in range(len(self.images)):
            mark = _mark(self.nonce, number)
            found = rendered.find(mark, at)
            if found < 0 or rendered.count(mark) != 1:
                return None
            pieces.append(rendered[at:found])
            at = found + len(mark)
        return [*pieces, rendered[at:]]


def lay_out(messages: Sequence[ChatMessage], as_parts: bool) -> _LaidOut:
    """Replace images by marks that nobody can have typed and that templates leave as they are.

    `as_parts`: the template wants a list of parts as content, instead of text.
    """
    laid_out = _LaidOut([], [], secrets.token_hex(8))
    for message in messages:
        content = message.content
        if isinstance(content, list):
            content = laid_out.place(content)
        if as_parts and content is not None:
            content = [TextPart(content)]
        laid_out.messages.append(msgspec.structs.replace(message, content=content))
    return laid_out


def _mark(nonce: str, number: int) -> str:
    return f"Zimage{nonce}n{number}z"


def _engine_tag(number: int) -> str:
    """The same for every model: the engine puts the model's own in its place."""
    return f"<ov_genai_image_{number}>"
