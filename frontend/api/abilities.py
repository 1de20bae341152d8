"""What a model can be asked for, by the card of its task."""

from frontend.errors import BadRequest
from frontend.routing.router import Model
from ipc.messages import ModelCard, SpeechCard, TextCard, TranscriptionCard, VectorCard


def text_card(model: Model) -> TextCard:
    """The card of a model that generates text. Raises BadRequest where it serves another task."""
    if isinstance(model.card, TextCard):
        return model.card
    raise _serves_another_task(model, "does not generate text")


def embedding_card(model: Model) -> VectorCard:
    """The card of a model that computes embeddings. Raises BadRequest where it serves another task."""
    if isinstance(model.card, VectorCard) and model.card.dimensions:
        return model.card
    raise _serves_another_task(model, "does not compute embeddings")


def rerank_card(model: Model) -> VectorCard:
    """The card of a model that scores documents. Raises BadRequest where it serves another task."""
    if isinstance(model.card, VectorCard) and not model.card.dimensions:
        return model.card
    raise _serves_another_task(model, "does not rerank documents")


def transcription_card(model: Model) -> TranscriptionCard:
    """The card of a model that transcribes speech. Raises BadRequest where it serves another task."""
    if isinstance(model.card, TranscriptionCard):
        return model.card
    raise _serves_another_task(model, "does not transcribe speech")


def speech_card(model: Model) -> SpeechCard:
    """The card of a model that reads texts aloud. Raises BadRequest where it serves another task."""
    if isinstance(model.card, SpeechCard):
        return model.card
    raise _serves_another_task(model, "does not read texts aloud")


def ability(card: ModelCard) -> str:
    """What a model does, as a predicate."""
    if isinstance(card, TextCard):
        return "generates text"
    if isinstance(card, VectorCard):
        return "computes embeddings" if card.dimensions else "reranks documents"
    if isinstance(card, TranscriptionCard):
        return "transcribes speech"
    if isinstance(card, SpeechCard):
        return "reads texts aloud"
    return "serves another task"


def _serves_another_task(model: Model, lacks: str) -> BadRequest:
    return BadRequest(f"model: {model.name!r} {ability(model.card)}; it {lacks}", "model")
