"""What a model's answers depend on besides the request."""

from frontend.config import ModelSettings
from frontend.errors import ModelNotFound
from frontend.routing.router import Router
from ipc.messages import ModelCard


class ModelMark:
    """Equal as long as a model is neither loaded again nor has other settings."""

    def __init__(self, name: str, card: ModelCard, settings: ModelSettings) -> None:
        self._name = name
        self._card = card
        self._settings = settings

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ModelMark)
            and self._name == other._name
            and self._card is other._card
            and self._settings == other._settings
        )

    __hash__ = None  # type: ignore[assignment]


def model_mark(router: Router, name: str) -> ModelMark | None:
    """None where the name means several models, none, or one that has never been loaded."""
    try:
        resolved = router.resolve(name)
    except ModelNotFound:
        return None
    route = router.routes[resolved.model]
    if resolved.variants is not None or route.last_card is None:
        return None
    return ModelMark(route.name, route.last_card, route.settings)
