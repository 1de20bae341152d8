"""GET /v1/audio/voices and /v1/audio/models: what clients such as Open WebUI offer for choice."""

from collections.abc import Iterator

import falcon
import falcon.asgi
import msgspec

from frontend.api.abilities import speech_card
from frontend.api.area import App, Server
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.speech import SpeechModelBody, SpeechModelList, VoiceBody, VoiceList
from frontend.api.served import model_of
from frontend.routing.router import Router
from ipc.messages import SpeechCard


class Voices:
    def __init__(self, router: Router) -> None:
        self._router = router

    @describes(
        "Voices of one model, or of all that are loaded",
        answer=VoiceList,
        query={"model": str},
        errors=OF_ENGINES,
    )
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """The voices of `?model=`, once it is loaded; without it, those of all models that are loaded."""
        if name := request.get_param("model"):
            model = await model_of(self._router, name, request)
            spoken = {name: speech_card(model)}
        else:
            spoken = dict(_speaking(self._router))
        voices = [
            VoiceBody(id=voice.name, name=voice.name, language=voice.language, model=name)
            for name, card in spoken.items()
            for voice in card.voices
        ]
        _answer(response, VoiceList(voices=voices))


class SpeechModels:
    def __init__(self, router: Router) -> None:
        self._router = router

    @describes("Models that read texts aloud", answer=SpeechModelList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """The models that read texts aloud, as far as they have been loaded."""
        models = [SpeechModelBody(id=name, name=name) for name, _ in _speaking(self._router)]
        _answer(response, SpeechModelList(models=models))


def _speaking(router: Router) -> Iterator[tuple[str, SpeechCard]]:
    for route in router.visible_routes:
        if isinstance(route.last_card, SpeechCard):
            yield route.name, route.last_card


def _answer(response: falcon.asgi.Response, body: msgspec.Struct) -> None:
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body)


def install(app: App, server: Server) -> None:
    app.add_route("/v1/audio/voices", Voices(server.router))
    app.add_route("/v1/audio/models", SpeechModels(server.router))
