"""The native pipeline of a vision model, which takes text and images in place of token ids."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import openvino_genai as genai
from openvino import Tensor

from host.engines.base import RequestRefused, context_length_exceeded
from host.engines.batch import ImagePrompt
from host.engines.pipeline import Pipeline
from host.engines.request import TextRequest
from host.engines.vision_prompts import VisionPromptReader
from host.images import decode_images
from host.model_folder import ModelFolder
from host.native_errors import summary
from ipc.errors import ErrorCode
from ipc.messages import Launch, TextOptions

_TOO_LONG = "'max_length' must be greater than the number of prompt tokens"
_UNLIMITED = genai.GenerationConfig().max_new_tokens
_PARAM = "messages"


class VisionPipeline(Pipeline):
    """ContinuousBatchingPipeline, fed with text and images. It alone knows how many tokens an image has."""

    def __init__(
        self,
        launch: Launch[TextOptions],
        folder: ModelFolder,
        tokenizer: genai.Tokenizer,
        reader: VisionPromptReader,
        encoding: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        """`encoding(n)` surrounds the encoding of `n` images, which may take long."""
        super().__init__(launch, folder, tokenizer)
        self._reader = reader
        self._encoding = encoding

    def add(self, request: TextRequest) -> bool:
        """Encode the request's images, and let it generate. Raises RequestRefused, RuntimeError."""
        content = request.content
        assert content is not None, "prompts of vision models are text"
        ids, max_tokens, min_tokens = request.restart()
        done = ids[len(request.prompt_ids) :]
        text, request.restored = self._reader.continued(content.text, done)
        if lost := len(done) - request.restored:  # they are generated once more, and compared
            request.replayed = request.restored
            max_tokens += lost
        config = self._generation_config(request, max_tokens, min_tokens)
        config.apply_chat_template = False  # the prompt was rendered by us
        with self._encoding(len(content.images)):
            images = [Tensor(pixels) for pixels in decode_images(content.images, _PARAM)]
            prompt = ImagePrompt(text, images)
            if images:
                self._enter_bounded(request, prompt, config, content.max_tokens)
            else:
                self._enter(request, prompt, config)
        self.native.finish_chat()  # otherwise it keeps the token ids of every prompt
        return True

    def _enter_bounded(
        self, request: TextRequest, prompt: ImagePrompt, config: Any, wanted: int | None
    ) -> None:
        """`max_length` makes the pipeline refuse a prompt that is too long before it takes it in.

        `wanted`: how many tokens to generate, if there is room for them; None for as many as there is.
        """
        limit = min(self._reader.context_length, self.kv_cache_tokens)
        if wanted is None:
            config.max_new_tokens, config.max_length = _UNLIMITED, limit
        else:
            config.max_length = limit - config.max_new_tokens + 1
        try:
            self._enter(request, prompt, config)
        except RuntimeError as error:
            if _TOO_LONG not in str(error):
                print(f"the pipeline refuses images: {error}", file=sys.stderr, flush=True)
                message = f"the model cannot take these images: {summary(error)}"
                raise RequestRefused(ErrorCode.INVALID_VALUE, message, _PARAM) from error
            if wanted is not None:
                self._enter_bounded(request, prompt, config, None)
                return
            raise self._too_long() from error

    def _too_long(self) -> RequestRefused:
        wanted = "your prompt with its images has more"
        if self._reader.context_length <= self.kv_cache_tokens:
            return context_length_exceeded(self._reader.context_length, wanted, _PARAM)
        message = f"this server's KV cache holds {self.kv_cache_tokens} tokens, and {wanted}"
        return RequestRefused(ErrorCode.KV_CACHE_EXCEEDED, message, _PARAM)
