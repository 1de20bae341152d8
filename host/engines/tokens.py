"""Between text and token ids, for whoever asks: no request is made of it."""

from typing import Any

from host.detokenizer import Detokenizer
from host.engines.prompt_ids import PromptReader
from host.sampling import Limits, check_token_ids
from ipc.messages import Detokenized, Prompt, Tokenized, TokenPrompt


class Tokens:
    """Answers with the very parts that requests go through."""

    def __init__(self, prompts: PromptReader, detokenizer: Detokenizer[Any], limits: Limits) -> None:
        self._prompts = prompts
        self._detokenizer = detokenizer
        self._limits = limits

    def tokenize(self, request_id: int, prompt: Prompt) -> Tokenized:
        """Raises RequestRefused."""
        read = self._prompts.read(prompt)
        if isinstance(prompt, TokenPrompt):
            check_token_ids(read.ids, self._limits)
        texts = [piece.decode(errors="replace") for piece in self._detokenizer.token_bytes(read.ids)]
        return Tokenized(request_id, read.ids, read.text, texts)

    def detokenize(self, request_id: int, token_ids: list[int], skip_special_tokens: bool) -> Detokenized:
        """Raises RequestRefused."""
        check_token_ids(token_ids, self._limits, "tokens")
        if not token_ids:
            return Detokenized(request_id, "")
        stream = self._detokenizer.open(skip_special_tokens)
        (text,) = self._detokenizer.feed([(stream, token_ids)])
        return Detokenized(request_id, text + self._detokenizer.finish(stream))
