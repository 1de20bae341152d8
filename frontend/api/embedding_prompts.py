"""Which of a model's own prompts precedes each text: what sentence-transformers, Cohere and Jina call it."""

from collections.abc import Mapping

from frontend.api.schema.embeddings import EmbeddingRequest
from frontend.errors import BadRequest
from ipc.messages import VectorCard

# What the same prompt is called by models, the most usual name first.
_SAME: tuple[tuple[str, ...], ...] = (
    ("query", "search_query", "retrieval.query", "s2p_query", "retrieval_query"),
    ("document", "passage", "search_document", "retrieval.passage", "retrieval_document", "corpus"),
    ("classification", "clf"),
    ("clustering", "separation"),
    ("similarity", "text-matching", "s2s_query", "STS"),
)


def prompt_of(request: EmbeddingRequest, card: VectorCard) -> str:
    """The model's prompt that a request asks for, by one of its names.

    A `prompt_name` must be one of the model's. `input_type` and `task` say what a text is for: they choose
    the prompt that the model has for it, and change nothing where it has none. A request that chooses nothing
    gets the model's default prompt, if it has one. Raises BadRequest.
    """
    prompts = card.prompts
    if request.prompt_name is not None:
        if request.prompt_name not in prompts:
            raise _unknown(request.prompt_name, prompts)
        return prompts[request.prompt_name]
    purpose = request.input_type or request.task
    names = _names(purpose) if purpose is not None else ()
    chosen = next((name for name in names if name in prompts), card.default_prompt)
    return prompts.get(chosen, "")


def _names(purpose: str) -> tuple[str, ...]:
    """What a model may call the prompt for a purpose, its own word first."""
    same = next((names for names in _SAME if purpose in names), ())
    return (purpose, *same)


def _unknown(name: str, prompts: Mapping[str, str]) -> BadRequest:
    known = ", ".join(sorted(prompts)) or "none"
    return BadRequest(f"prompt_name: the model has no prompt {name!r}; its prompts: {known}", "prompt_name")
