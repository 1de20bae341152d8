"""A recording as the answer to one request."""

from frontend.http.asgi import Headers, Scope, Send, with_headers, writer_of
from frontend.http.exchange import CLIENT_GONE, Exchange, exchange_of
from frontend.http.push import body_of
from frontend.replay.asked import no_event
from frontend.replay.recording import CutOff, Reader, Recording


async def send_recorded(recording: Recording, scope: Scope, send: Send, headers: Headers, after: int) -> None:
    """Send what there is of it after the event of that number, and what follows. Raises what broke it,
    ClientGone, or BadRequest for a number that it has not reached."""
    await recording.begun()
    note(exchange_of(scope), recording.exchange)
    if recording.start is None:
        raise recording.error or RuntimeError("no answer")
    if not recording.may_follow(after):
        raise no_event()
    await send(with_headers(recording.start, headers))
    writer = writer_of(scope)
    try:
        async for data in body_of(Reader(recording, after, writer), b"".join, writer):
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except CutOff:
        if writer is None:
            raise
        writer.cut_off()
    finally:
        note(exchange_of(scope), recording.exchange)
    await send({"type": "http.response.body", "body": b""})


def note(own: Exchange, made: Exchange) -> None:
    """What logs, traces and metrics report of the answer; its work counts once, for whom it was made."""
    own.route, own.model, own.answered_by = made.route, made.model, made.answered_by
    own.variants, own.stream, own.param = made.variants, made.stream, made.param
    if own.request_id == made.request_id:
        own.tokens, own.audio_seconds = made.tokens, made.audio_seconds
        own.first_token_seconds, own.phase = made.first_token_seconds, made.phase
        own.course = made.course or own.course
    if made.failure is not None and made.failure != CLIENT_GONE:
        own.fail(made.failure, made.param)
