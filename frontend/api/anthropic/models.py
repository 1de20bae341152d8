"""Lists of models in the form of Anthropic's API, for clients that send `anthropic-version`. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec


class AnthropicModel(msgspec.Struct, kw_only=True, tag_field="type", tag="model"):
    id: str
    display_name: str
    created_at: str  # RFC 3339
    lifecycle: str = "active"
    max_input_tokens: int | None  # tokens of context; None until a replica was loaded


class AnthropicModelList(msgspec.Struct):
    data: list[AnthropicModel]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


def anthropic_model(name: str, created: int, context_length: int | None) -> AnthropicModel:
    """`created` is in Unix seconds."""
    when = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return AnthropicModel(id=name, display_name=name, created_at=when, max_input_tokens=context_length)


def anthropic_list(models: Sequence[AnthropicModel]) -> AnthropicModelList:
    """All of them: there are never so many that they need pages."""
    ids = [model.id for model in models]
    return AnthropicModelList(list(models), ids[0] if ids else None, ids[-1] if ids else None)
