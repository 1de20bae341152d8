"""From any kind of prompt to token ids within the model's context and vocabulary."""

import sys
from typing import Any

from jinja2 import TemplateError

from host.engines.base import RequestRefused, prompt_param
from host.model_folder import ModelFolder
from host.prompt import ChatTemplate
from ipc.errors import ErrorCode
from ipc.messages import ChatPrompt, InlinePrompt, TextPrompt


class PromptReader:
    """Renders and tokenizes. `tokenizer` is an openvino_genai.Tokenizer."""

    def __init__(self, tokenizer: Any, folder: ModelFolder, longest_token: int | None) -> None:
        """`longest_token`: in bytes, None if unknown."""
        self._tokenizer = tokenizer
        self._template = _chat_template(tokenizer, folder)
        self._longest_token = longest_token
        self._context_length = sys.maxsize

    @property
    def has_chat_template(self) -> bool:
        return self._template is not None

    def measure_context(self, wanted: int) -> int:
        """Set the context length to `wanted` or, if less, to what the tokenizer can encode.

        Some tokenizers cut every text at a length baked into their graph, whatever `max_length` they get,
        and do not say so. A longer text would silently lose its end.
        """
        encoded = len(self._encode("1 2 " * (wanted + 1), add_special_tokens=False))
        self._context_length = min(wanted, encoded)
        return self._context_length

    def read(self, prompt: InlinePrompt) -> list[int]:
        """The prompt's token ids. Raises RequestRefused if there are none, or surely too many."""
        if isinstance(prompt, ChatPrompt):
            ids = self._encode(self._render(prompt), add_special_tokens=False, param=prompt_param(prompt))
        elif isinstance(prompt, TextPrompt):
            ids = self._encode(prompt.text, add_special_tokens=True)
        else:
            ids = prompt.token_ids
        if not ids:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "the prompt is empty", prompt_param(prompt))
        return ids

    def _render(self, prompt: ChatPrompt) -> str:
        if self._template is None:
            raise RequestRefused(
                ErrorCode.CHAT_TEMPLATE_FAILED,
                "this model has no chat template; use the completions endpoint",
                "messages",
            )
        if not prompt.messages:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "messages must not be empty", "messages")
        return self._template.render(prompt.messages)

    def _encode(self, text: str, add_special_tokens: bool, param: str = "prompt") -> list[int]:
        self._refuse_hopeless(text, param)
        ids: list[int] = (
            self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
            .input_ids.data.flatten()
            .tolist()
        )
        return ids

    def _refuse_hopeless(self, text: str, param: str) -> None:
        """Megabytes of text would hold the loop for seconds, only to be refused for their length."""
        if self._longest_token is None:
            return
        least = len(text) // self._longest_token
        if least >= self._context_length:
            raise RequestRefused(
                ErrorCode.CONTEXT_LENGTH_EXCEEDED,
                f"the model's context length is {self._context_length} tokens, but the prompt holds "
                f"at least {least}",
                param,
            )


def _chat_template(tokenizer: Any, folder: ModelFolder) -> ChatTemplate | None:
    source = folder.chat_template or tokenizer.get_original_chat_template() or tokenizer.chat_template
    if not source:
        return None
    own = {"bos_token": tokenizer.get_bos_token(), "eos_token": tokenizer.get_eos_token()}
    try:
        return ChatTemplate(source, own | folder.special_tokens)
    except TemplateError as error:
        print(f"the chat template is not valid: {error}", file=sys.stderr, flush=True)
        return None
