"""What the generating endpoints have in common: sampling parameters, usage, and what we must refuse."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from frontend.api.schema.formats import ResponseFormat, StructuredOutputs, output_format
from frontend.errors import BadRequest
from ipc.messages import Sampling

T = TypeVar("T")

MAX_CHOICES = 128
MOST_MESSAGES = 10_000  # of one conversation
MANY_MESSAGES = 500  # or items; they take milliseconds
_INT64 = 2**63 - 1
MAX_STOP_STRINGS = 32

TokenCount = Annotated[int, Meta(ge=1, le=2**31 - 1)]
StopString = Annotated[str, Meta(min_length=1, max_length=1000)]
# Any 64-bit number; which of them are tokens, the host knows.
TokenId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
ModelName = Annotated[str, Meta(min_length=1, max_length=500)]


class StreamOptions(msgspec.Struct, kw_only=True):
    include_usage: bool | None = None


class GenerationRequest(msgspec.Struct, kw_only=True):
    """Fields shared by chat and text completions. Null means the default, as OpenAI has it."""

    model: ModelName
    max_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=MAX_STOP_STRINGS)] | None = None
    seed: Annotated[int, Meta(ge=-_INT64, le=_INT64)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=MAX_STOP_STRINGS)] | None = None
    include_stop_str_in_output: bool | None = None
    stop_at_turns: bool | None = None  # ours: false lets the model speak for others, too
    skip_special_tokens: bool | None = None
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    return_token_ids: bool | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    # Who asks, and in which session: the same one always gets the same variant of a name.
    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None

    logit_bias: Any = None
    bad_words: Any = None
    best_of: Any = None
    suffix: Any = None
    use_beam_search: Any = None
    length_penalty: Any = None
    prompt_logprobs: Any = None
    allowed_token_ids: Any = None
    logits_processors: Any = None
    spaces_between_special_tokens: Any = None
    moderation: Any = None
    prompt_embeds: Any = None
    thinking_token_budget: Any = None
    return_tokens_as_token_ids: Any = None
    detokenize: Any = None
    include_reasoning: Any = None
    kv_transfer_params: Any = None
    cache_salt: Any = None
    priority: Any = None
    vllm_xargs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None

    @property
    def variant_key(self) -> str | None:
        return variant_key(self.user, self.safety_identifier, self.prompt_cache_key)

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def is_constrained(self) -> bool:
        """Whether there is something to check that may take long."""
        return self.response_format is not None or self.structured_outputs is not None

    @property
    def output_format(self) -> dict[str, Any] | None:
        """Raises BadRequest."""
        return output_format(self.response_format, self.structured_outputs)

    def sampling(self, max_tokens: int | None, choice: int, logprobs: bool) -> Sampling:
        """How choice number `choice` is sampled. A client's seed gives every choice its own."""
        greedy = self.top_p == 0  # an empty nucleus holds the most likely token alone
        if max_tokens is not None and (self.min_tokens or 0) > max_tokens:
            raise BadRequest(f"min_tokens must be at most max_tokens, {max_tokens}", "min_tokens")
        return Sampling(
            max_tokens=max_tokens,
            min_tokens=self.min_tokens or 0,
            temperature=0.0 if greedy else self.temperature,
            top_p=None if greedy else self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=None if self.seed is None else (self.seed + choice) % 2**64,
            stop=[self.stop] if isinstance(self.stop, str) else self.stop or [],
            ignore_eos=bool(self.ignore_eos),
            stop_token_ids=self.stop_token_ids or [],
            include_stop=bool(self.include_stop_str_in_output),
            stop_at_turns=self.stop_at_turns is not False,
            skip_special_tokens=self.skip_special_tokens is not False,
            logprobs=logprobs,
            truncate_prompt=self.truncate_prompt_tokens,
        )


def variant_key(*candidates: Any) -> str | None:
    """The first text among what a request says of who asks."""
    return next((text for text in candidates if isinstance(text, str) and text), None)


# Parameters we cannot honour → values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({},),
    "bad_words": ([],),
    "best_of": (1,),
    "suffix": ("",),
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "prompt_logprobs": (0, False),
    "allowed_token_ids": ([],),
    "logits_processors": ([],),
    "spaces_between_special_tokens": (True,),
    "moderation": (),
    "prompt_embeds": (),
    "thinking_token_budget": (),
    "return_tokens_as_token_ids": (False,),
    "detokenize": (True,),
    "include_reasoning": (True,),
    "kv_transfer_params": (),
    "cache_salt": ("",),
    "priority": (0,),
    "vllm_xargs": ({},),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
}
_INSTEAD = {
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar"), "structured_outputs"),
    "functions": "tools",
    "function_call": "tool_choice",
}


def required(value: T | None, where: str) -> T:
    """Raises BadRequest for a field that a request must have in its place and lacks."""
    if value is None:
        raise BadRequest(f"{where} is missing", where)
    return value


def refuse_unsupported(request: msgspec.Struct, harmless: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise BadRequest for a parameter that would change the answer and that we cannot honour.

    `harmless` lists such parameters with the values, besides null, that ask for nothing.
    """
    for name, values in harmless.items():
        value = getattr(request, name)
        if value is not None and value not in values:
            instead = f"; use {_INSTEAD[name]}" if name in _INSTEAD else ""
            raise BadRequest(f"{name} is not supported by this server{instead}", name)


def check_top_logprobs(name: str, value: int | None, most: int) -> None:
    """Raises BadRequest where more than the chosen token is asked for."""
    if value is not None and value > most:
        raise BadRequest(
            f"{name} must be at most {most}: the engine tells the chosen token's log probability alone", name
        )


def check_stream_options(request: GenerationRequest) -> None:
    if request.stream_options is not None and not request.stream:
        raise BadRequest("stream_options is only allowed when stream is true", "stream_options")


class PromptTokensDetails(msgspec.Struct):
    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct):
    reasoning_tokens: int


class UsageBody(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
