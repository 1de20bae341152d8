"""Bodies of the endpoints that need a model's tokenizer alone. vLLM's, as OpenAI has none."""

from typing import Annotated

import msgspec
from msgspec import Meta, UnsetType

from frontend.api.schema.chat import ChatRequest
from frontend.api.schema.common import ModelName, TokenId


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """With `messages` in place of `prompt` it is read as a chat request."""

    model: ModelName = ""  # may be left out where one model is served
    prompt: Annotated[str, Meta(min_length=1)]
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None


class ChatTokenizeRequest(ChatRequest, kw_only=True):
    """A chat request that is only to be tokenized."""

    model: ModelName = ""
    return_token_strs: bool | None = None


class TokenizeAnswer(msgspec.Struct, kw_only=True):
    count: int
    max_model_len: int  # tokens of context
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    model: ModelName = ""
    tokens: list[TokenId]
    skip_special_tokens: bool | None = None


class DetokenizeAnswer(msgspec.Struct):
    prompt: str


class TokenizerInfo(msgspec.Struct, kw_only=True):
    """What evaluation tools read of a tokenizer, under the names of Hugging Face's configurations."""

    tokenizer_class: str = "PreTrainedTokenizerFast"
    model_max_length: int  # tokens of context
    vocab_size: int
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    unk_token: str | None
    chat_template: str | None


class RenderAnswer(msgspec.Struct, kw_only=True):
    """The exact prompt of a chat completion, and what its answer is held to."""

    object: str = "chat.completion.render"
    model: str
    prompt: str
    token_ids: list[int]
    grammar: str | UnsetType = msgspec.UNSET
