"""POST /v1/audio/transcriptions and POST /v1/audio/translations."""

import itertools
from functools import partial

import falcon
import falcon.asgi
import msgspec

from frontend.api.abilities import transcription_card
from frontend.api.area import App, Server
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.transcriptions import (
    TextDelta,
    TextDone,
    TextSegment,
    TranscriptionBody,
    TranscriptionRequest,
    VerboseBody,
)
from frontend.api.served import model_of
from frontend.api.sse import Stream, event, respond_streaming
from frontend.api.transcription_form import request_of, work_of
from frontend.api.transcripts import body_of, usage_of
from frontend.api.uploads import Form, read_form
from frontend.errors import BadRequest
from frontend.http.client import client_of
from frontend.http.exchange import exchange_of
from frontend.spool import Spool
from frontend.tasks.transcription import Passage, Transcription, transcribe

_TEXT = "text/plain; charset=utf-8"


class Transcriptions:
    def __init__(self, server: Server, *, translate: bool) -> None:
        """`translate`: into English."""
        self._server = server
        self._translate = translate

    @describes(
        "The text of a recording; translations are into English",
        form=TranscriptionRequest,
        answer=TranscriptionBody | VerboseBody,
        events=TextDelta | TextSegment | TextDone,
        media=("text/plain",),
        errors=OF_ENGINES,
        example={"model": "whisper", "language": "en"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        server = self._server
        async with read_form(request, server.spools, server.max_upload_bytes) as form:
            asked = request_of(form.fields)
            check_file(form)
            model = await model_of(server.router, asked.model, request)
            client = client_of(request.scope)
            work = work_of(asked, transcription_card(model), translate=self._translate)
            file, form.file = form.file, None  # from here on, the transcription's
            assert file is not None
            try:
                transcription = transcribe(model, work, file, client.age_seconds)
            except BaseException:
                file.close()
                raise
        exchange_of(request.scope).audio_seconds = lambda: transcription.transcript.until
        client.on_leave(lambda: transcription.cancel(client.why))
        if asked.stream:
            await respond_streaming(request, response, _begin(asked, transcription, file))
        else:
            await _respond_whole(response, asked, transcription, file)


def check_file(form: Form) -> None:
    """Raises BadRequest unless the form has a file with something in it."""
    if form.file is None:
        raise BadRequest("file is missing; send the recording as the form's file", "file")
    if not len(form.file):
        raise BadRequest("file is empty", "file")


async def _respond_whole(
    response: falcon.asgi.Response, asked: TranscriptionRequest, transcription: Transcription, file: Spool
) -> None:
    try:
        while await transcription.outputs():
            pass
    finally:
        transcription.close()
        file.close()
    is_json = asked.response_format in ("json", "verbose_json")
    response.content_type = falcon.MEDIA_JSON if is_json else _TEXT
    response.data = body_of(transcription.transcript, asked, transcription.job.work)


async def _begin(asked: TranscriptionRequest, transcription: Transcription, file: Spool) -> Stream[Passage]:
    """Once the first window is done, so that a file that cannot be read is an HTTP error."""

    def close() -> None:
        transcription.close()
        file.close()

    try:
        await transcription.begun()
    except BaseException:
        close()
        raise
    events = Events(with_segments=asked.response_format == "verbose_json")
    return Stream(transcription, events.of, partial(done, transcription), close)


class Events:
    """The events of one stream."""

    def __init__(self, *, with_segments: bool) -> None:
        self._with_segments = with_segments
        self._numbers = itertools.count()

    def of(self, passages: list[Passage]) -> bytes:
        return b"".join(map(self._of_passage, passages))

    def _of_passage(self, passage: Passage) -> bytes:
        events: list[msgspec.Struct] = []
        if passage.text:
            events.append(TextDelta(delta=passage.text))
        for segment in passage.segments if self._with_segments else ():
            if text := segment.text.strip():
                name = f"seg_{next(self._numbers)}"
                events.append(TextSegment(id=name, start=segment.start, end=segment.end, text=text))
        return b"".join(map(event, events))


def done(transcription: Transcription) -> bytes:
    """The last event."""
    transcript = transcription.transcript
    return event(TextDone(text=transcript.text, usage=usage_of(transcript)))


def install(app: App, server: Server) -> None:
    app.add_route("/v1/audio/transcriptions", Transcriptions(server, translate=False))
    app.add_route("/v1/audio/translations", Transcriptions(server, translate=True))
