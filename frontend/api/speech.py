"""POST /v1/audio/speech."""

from collections.abc import AsyncIterator
from functools import partial

import falcon.asgi
import msgspec

from frontend.api.abilities import speech_card
from frontend.api.area import App, Server
from frontend.api.body import decode, read_body
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.common import refuse_unsupported
from frontend.api.schema.speech import UNSUPPORTED, AudioDelta, AudioDone, SpeechRequest, SpeechUsage
from frontend.api.served import model_of
from frontend.api.sse import Stream, event, failed, respond_streaming
from frontend.api.voice_names import blend_of
from frontend.errors import ClientGone
from frontend.http.asgi import Writer, writer_of
from frontend.http.client import client_of
from frontend.http.exchange import CLIENT_GONE, Exchange, exchange_of
from frontend.http.push import body_of
from frontend.tasks.speech import Sound, Speech, speak
from ipc.messages import AudioFormat, Speak, SpeechInput

MEDIA_TYPES: dict[AudioFormat, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}

_decoder = msgspec.json.Decoder(SpeechRequest)


class SpeechResource:
    def __init__(self, server: Server) -> None:
        self._server = server

    @describes(
        "A text read aloud",
        body=SpeechRequest,
        events=AudioDelta | AudioDone,
        media=tuple(MEDIA_TYPES.values()),
        errors=OF_ENGINES,
        example={"model": "kokoro", "input": "Hello.", "voice": "alloy"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        data = await read_body(request, self._server.max_body_bytes)
        asked = decode(data, _decoder)
        refuse_unsupported(asked, UNSUPPORTED)
        model = await model_of(self._server.router, asked.model, request)
        card = speech_card(model)
        audio_format = asked.response_format or "mp3"
        work = Speak(
            0,
            b"",
            blend_of(asked.voice_name, asked.language, model.settings.voice_aliases, card),
            asked.speed or 1.0,
            audio_format,
        )
        body = msgspec.msgpack.encode(SpeechInput(asked.input))
        client = client_of(request.scope)
        speech = speak(model, work, body, card.sample_rate, client.age_seconds)
        exchange_of(request.scope).audio_seconds = lambda: speech.seconds
        client.on_leave(lambda: speech.cancel(client.why))
        if asked.stream_format == "sse":
            await respond_streaming(request, response, _begin(speech, len(asked.input)))
        else:
            response.stream = await _audio(request, speech)
            response.content_type = MEDIA_TYPES[audio_format]


async def _begin(speech: Speech, characters: int) -> Stream[Sound]:
    await _begun(speech)
    return Stream(speech, _events, partial(_done, speech, characters), speech.close)


async def _begun(speech: Speech) -> None:
    """Wait for the first sentence, so that what cannot be read aloud is an HTTP error."""
    try:
        await speech.begun()
    except BaseException:
        speech.close()
        raise


def _events(sounds: list[Sound]) -> bytes:
    return b"".join(event(AudioDelta(audio=sound.data)) for sound in sounds if sound.data)


def _done(speech: Speech, characters: int) -> bytes:
    usage = SpeechUsage(input_tokens=characters, total_tokens=characters, seconds=round(speech.seconds, 3))
    return event(AudioDone(usage=usage))


async def _audio(request: falcon.asgi.Request, speech: Speech) -> AsyncIterator[bytes]:
    exchange = exchange_of(request.scope)
    await _begun(speech)
    return _stream(speech, writer_of(request.scope), exchange)


async def _stream(speech: Speech, writer: Writer | None, exchange: Exchange) -> AsyncIterator[bytes]:
    """The response body. Audio has no place for an error: one cuts the connection off."""
    try:
        async for data in body_of(speech, _joined, writer):
            yield data
    except ClientGone:
        exchange.fail(CLIENT_GONE)
    except Exception as error:
        shown = failed(exchange, error, "a stream of audio")
        if writer is None:
            raise shown from error
        writer.cut_off()
    finally:
        speech.close()


def _joined(sounds: list[Sound]) -> bytes:
    return b"".join(sound.data for sound in sounds)


def install(app: App, server: Server) -> None:
    app.add_route("/v1/audio/speech", SpeechResource(server))
