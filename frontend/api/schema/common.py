"""What the generating endpoints have in common: sampling parameters, usage, and what we must refuse."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from frontend.errors import BadRequest
from ipc.messages import Sampling

MAX_CHOICES = 128
_INT64 = 2**63 - 1
_STOP_STRINGS = 32

TokenCount = Annotated[int, Meta(ge=1, le=2**31 - 1)]
StopString = Annotated[str, Meta(min_length=1, max_length=1000)]
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
    stop: StopString | Annotated[list[StopString], Meta(max_length=_STOP_STRINGS)] | None = None
    seed: Annotated[int, Meta(ge=-_INT64, le=_INT64)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, max_tokens: int | None, choice: int) -> Sampling:
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
        )


def refuse_unsupported(request: msgspec.Struct, harmless: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise BadRequest for a parameter that would change the answer and that we cannot honour.

    `harmless` lists such parameters with the values, besides null, that ask for nothing.
    """
    for name, values in harmless.items():
        value = getattr(request, name)
        if value is not None and value not in values:
            raise BadRequest(f"{name} is not supported by this server", name)


def check_stream_options(request: GenerationRequest) -> None:
    if request.stream_options is not None and not request.stream:
        raise BadRequest("stream_options is only allowed when stream is true", "stream_options")


class UsageBody(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
