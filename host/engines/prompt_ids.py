"""From any kind of prompt to token ids within the model's context and vocabulary."""

import sys
from functools import cached_property
from typing import Any

import msgspec
from jinja2 import TemplateError

from host.engines.base import RequestRefused, context_length_exceeded
from host.engines.prompts import prompt_param
from host.model_folder import ModelFolder
from host.normalization import find_normalizer
from host.templates.rendering import ChatTemplate
from ipc.errors import ErrorCode
from ipc.messages import ChatPrompt, MediaPart, Prompt, TextPrompt

_ANY_TEXT = "1"
_CUT_MARGIN = 64  # tokens: where a text is cut in two, so many of them may come out otherwise


class ReadPrompt(msgspec.Struct):
    """A prompt as the model sees it, and as text where it was text."""

    ids: list[int]
    text: str = ""  # as the chat template wrote it, or as it was given
    images: tuple[MediaPart, ...] = ()  # in the order of their tags in the text
    span: tuple[int, int] | None = None  # the ids without special tokens that were added; None for all


class PromptReader:
    """Renders and tokenizes. `tokenizer` is an openvino_genai.Tokenizer."""

    def __init__(self, tokenizer: Any, folder: ModelFolder, longest_token: int | None) -> None:
        """`longest_token`: in bytes, None if unknown."""
        own = {"bos_token": tokenizer.get_bos_token(), "eos_token": tokenizer.get_eos_token()}
        self.special_tokens = own | folder.special_tokens  # by their names in chat templates
        self.template = _chat_template(tokenizer, folder, self.special_tokens)
        # For turns with tools, in place of the other.
        self.tool_template = (
            _compiled(folder.tool_template, self.special_tokens) if folder.tool_template else None
        )
        self._tokenizer = tokenizer
        self._normalize = find_normalizer(folder.path)
        self._longest_token = longest_token
        self._context_length = sys.maxsize
        self._cuts_at = sys.maxsize  # tokens

    @property
    def context_length(self) -> int:
        """In tokens."""
        return self._context_length

    def measure_context(self, wanted: int) -> int:
        """Set the context length to `wanted` or, if less, to what the tokenizer can encode.

        Some tokenizers cut every text at a length baked into their graph, whatever `max_length` they get,
        and do not report it. Such texts are refused, because a part of them is lost.
        """
        self._context_length = self._cuts_at = sys.maxsize
        encoded = len(self._encode("1 2 " * (wanted + 1), add_special_tokens=False))
        self._context_length = min(wanted, encoded)
        if encoded <= wanted:
            self._cuts_at = encoded
        if encoded < wanted:
            print(
                f"the model's tokenizer cuts texts at {encoded} tokens: the context length is {encoded}, "
                f"not {wanted}; convert the model again to lift this limit",
                file=sys.stderr,
                flush=True,
            )
        return self._context_length

    def read(self, prompt: Prompt, keep: int | None = None) -> ReadPrompt:
        """The prompt, or its last `keep` tokens. Raises RequestRefused if there are surely too many."""
        if isinstance(prompt, ChatPrompt):
            text = self._render(prompt)
            ids = self._encode(text, False, keep, prompt_param(prompt))
        elif isinstance(prompt, TextPrompt):
            text = prompt.text
            ids = self._encode(text, prompt.add_special_tokens, keep)
        else:
            text, ids = "", prompt.token_ids
        added = isinstance(prompt, TextPrompt) and prompt.add_special_tokens
        first, last = self._added_tokens if added else (0, 0)
        kept = ids if keep is None else ids[-keep:]
        start = max(0, first - (len(ids) - len(kept)))
        return ReadPrompt(kept, text, span=(start, max(start, len(kept) - last)))

    @cached_property
    def _added_tokens(self) -> tuple[int, int]:
        """How many special tokens the tokenizer adds in front of a text and behind it."""
        plain = self._encode(_ANY_TEXT, add_special_tokens=False)
        whole = self._encode(_ANY_TEXT, add_special_tokens=True)
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return start, len(whole) - start - len(plain)
        return 0, 0

    def _render(self, prompt: ChatPrompt) -> str:
        if self.template is None:
            raise RequestRefused(
                ErrorCode.CHAT_TEMPLATE_FAILED,
                "this model has no chat template; use the completions endpoint",
                "messages",
            )
        if not prompt.messages:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "messages must not be empty", "messages")
        has_tools = prompt.tools not in ("", "[]")
        template = self.tool_template if has_tools and self.tool_template is not None else self.template
        return template.render(prompt)

    def _encode(
        self, text: str, add_special_tokens: bool, keep: int | None = None, param: str = "prompt"
    ) -> list[int]:
        if keep is None:
            self._refuse_hopeless(text, param)
        elif self._longest_token is not None:
            text = text[-(keep + _CUT_MARGIN) * self._longest_token :]
        try:
            encoded = self._tokenizer.encode(self._normalize(text), add_special_tokens=add_special_tokens)
        except UnicodeEncodeError as error:
            raise RequestRefused(
                ErrorCode.INVALID_VALUE, "half a surrogate pair is not text", param
            ) from error
        ids: list[int] = encoded.input_ids.data.flatten().tolist()
        if len(ids) < self._cuts_at:
            return ids
        if keep is None:
            raise context_length_exceeded(
                self._context_length, f"your prompt has at least {self._cuts_at}", param, self._cuts_at
            )
        return self._encode(text[len(text) // 4 :], add_special_tokens, keep, param)

    def _refuse_hopeless(self, text: str, param: str) -> None:
        """Megabytes of text would hold the loop for seconds, only to be refused for their length."""
        if self._longest_token is not None and len(text) // self._longest_token >= self._context_length:
            least = len(text) // self._longest_token
            raise context_length_exceeded(
                self._context_length, f"your prompt has at least {least}", param, least
            )


def _chat_template(
    tokenizer: Any, folder: ModelFolder, special_tokens: dict[str, str]
) -> ChatTemplate | None:
    source = folder.chat_template or tokenizer.get_original_chat_template() or tokenizer.chat_template
    return _compiled(source.removeprefix("\ufeff"), special_tokens) if source else None


def _compiled(source: str, special_tokens: dict[str, str]) -> ChatTemplate | None:
    try:
        return ChatTemplate(source, special_tokens)
    except TemplateError as error:
        print(f"the chat template is not valid: {error}", file=sys.stderr, flush=True)
        return None
