"""Bodies of requests to Ollama's API. Fields that it has and we cannot honour are refused by name."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from frontend.api.ollama.options import Options
from frontend.api.schema.common import MOST_MESSAGES, ModelName
from frontend.api.schema.embeddings import MAX_INPUTS
from frontend.api.schema.tools import MAX_TOOLS, ToolBody
from frontend.errors import BadRequest

MAX_IMAGES = 10_000  # the setting max_images bounds them

Image = str  # base64


class ModelRequest(msgspec.Struct, kw_only=True):
    """`name` is what older clients call the model."""

    model: ModelName | None = None
    name: ModelName | None = None

    @property
    def wanted(self) -> str:
        """The model's name. Raises BadRequest where there is none."""
        wanted = self.model or self.name
        if wanted is None:
            raise BadRequest("model is missing", "model")
        return wanted


class KeepingRequest(ModelRequest, kw_only=True):
    """A request that decides how long the model stays loaded."""

    keep_alive: float | str | None = None
    options: Options | None = None


class GenerationRequest(KeepingRequest, kw_only=True):
    """What chat and generate have in common."""

    stream: bool | None = None
    format: Any = None  # "json" or a JSON schema
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def streamed(self) -> bool:
        """Streaming is Ollama's default."""
        return self.stream is not False


class CalledFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any] = {}


class CallBody(msgspec.Struct):
    function: CalledFunction
    id: str | None = None


class MessageBody(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: Annotated[list[Image], Meta(max_length=MAX_IMAGES)] | None = None
    tool_calls: list[CallBody] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ChatRequest(GenerationRequest, kw_only=True):
    messages: Annotated[list[MessageBody], Meta(max_length=MOST_MESSAGES)] | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=MAX_TOOLS)] | None = None


class GenerateRequest(GenerationRequest, kw_only=True):
    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    images: Annotated[list[Image], Meta(max_length=MAX_IMAGES)] | None = None

    suffix: Any = None
    template: Any = None
    context: Any = None
    width: Any = None
    height: Any = None
    steps: Any = None


# Parameters of generate that we cannot honour → what to do instead.
_INSTEAD = {
    "suffix": "texts are continued at their end only; put what precedes into prompt",
    "template": "the model's own chat template is used; with raw, the prompt is sent as it is",
    "context": "send the conversation so far as messages to /api/chat",
    "width": "images are not generated here",
    "height": "images are not generated here",
    "steps": "images are not generated here",
}


def refuse_unsupported(body: GenerateRequest) -> None:
    """Raises BadRequest for a parameter that would change the answer and cannot be honoured."""
    for name, instead in _INSTEAD.items():
        if getattr(body, name) not in (None, "", [], 0):
            raise BadRequest(f"{name} is not supported by this server: {instead}", name)


class EmbedRequest(KeepingRequest, kw_only=True):
    input: str | Annotated[list[str], Meta(max_length=MAX_INPUTS)] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class EmbeddingsRequest(KeepingRequest, kw_only=True):
    """The form that embed has replaced."""

    prompt: str | None = None
