"""Work of another Nacelle: what is accepted, how it continues after a death here, and how errors cross."""

from typing import cast

import msgspec
import pytest

from frontend import errors
from frontend.errors import BadRequest, ServerError, from_host
from frontend.remote.failures import error_of, may_go_elsewhere, rejection
from frontend.remote.wire import (
    FRAME_BYTES,
    Rejected,
    decode_from_peer,
    decode_to_peer,
    encode,
    frames,
    own_hello,
)
from frontend.routing.router import Model
from frontend.tasks.relayed import KINDS, RelayedJob, check
from ipc.channel import ChannelError
from ipc.continuation import Continuation
from ipc.errors import ErrorCode, RequestError
from ipc.lease import Lease
from ipc.messages import (
    TASKS,
    Delta,
    Embed,
    Embedded,
    EmbedInputs,
    Failed,
    Generate,
    Release,
    Sampling,
    Speak,
    Spoken,
    TextInput,
    TextPrompt,
    Transcribe,
    Transcribed,
)
from tests.frontend.routing.hosts import CARD, History

BODY = msgspec.msgpack.encode(TextInput(TextPrompt("one two")))


def test_every_kind_of_work_can_be_relayed():
    assert set(KINDS) == {kind for task in TASKS for kind in task.work}


def test_work_with_progress_can_continue():
    """What done_units says comes from fields that a reply must change."""
    with_progress = {kind for kind in KINDS if "done_units" in vars(kind)}
    assert with_progress == {kind for kind, known in KINDS.items() if known.advance is not None}
    text, speech, heard = Generate(1, b"", Sampling(), [5]), Speak(1, b""), Transcribe(1, b"")
    for work, reply in (
        (text, Delta(1, [6, 7], "x")),
        (speech, Spoken(1, b"x", 100)),
        (heard, Transcribed(1, 30.0, language="de")),
    ):
        advance = KINDS[type(work)].advance
        assert advance is not None
        advance(work, reply)
    assert text.resume_token_ids == [5, 6, 7]
    assert (speech.resume_sentences, speech.resume_samples) == (1, 100)
    assert (heard.resume_seconds, heard.resume_windows, heard.language) == (30.0, 1, "de")


class Outlet:
    def __init__(self):
        self.replies, self.errors = [], []

    def reply(self, job, reply):
        self.replies.append(reply)

    def fail(self, job, error):
        self.errors.append(error)

    def flush(self):
        pass


class ModelHere:
    card = CARD

    def now(self):
        return 1.0


def relayed(outlet, sampling=None, body=BODY):
    sampling = sampling or Sampling(temperature=0.0)
    return RelayedJob(Generate(77, b"", sampling), body, cast(Model, ModelHere()), outlet)


def test_a_text_continues_here_after_a_death_and_nothing_is_sent_twice():
    history, outlet = History(replicas=2), Outlet()
    job = relayed(outlet)
    history.route.submit([job])
    [request_id] = history.route.replicas[0].jobs
    history.say(0, Delta(request_id, [3, 4], "ab"))
    history.die(0)
    history.ready_again(0)
    history.route.pump()
    held = [(n, m) for n, host in enumerate(history.hosts) for m in host.held()]
    [(number, again)] = held
    assert again.resume_token_ids == [3, 4]
    history.say(number, Delta(again.request_id, [5], "c"))
    assert [(reply.request_id, reply.text) for reply in outlet.replies] == [(77, "ab"), (77, "c")]
    assert outlet.errors == []


def test_how_a_text_continues_depends_on_its_payload_too():
    grammar = msgspec.msgpack.encode(TextInput(TextPrompt("x"), grammar="{}"))
    seeded = Sampling(temperature=1.0, seed=3)
    assert relayed(Outlet()).progress.continuation is Continuation.BY_TEXT
    assert relayed(Outlet(), body=grammar).progress.continuation is Continuation.BY_REPLAY
    assert relayed(Outlet(), seeded).progress.continuation is Continuation.BY_REPLAY


@pytest.mark.parametrize(
    ("work", "body"),
    [
        (Generate(1, b"", Sampling()), b"\xc1"),
        (Generate(1, b"", Sampling()), msgspec.msgpack.encode(["x"])),
        (Generate(1, b"", Sampling(), [CARD.vocab_size]), BODY),
        (Generate(1, b"", Sampling(), [-1]), BODY),
        (Embed(1, b""), msgspec.msgpack.encode(EmbedInputs(["x"]))),
    ],
)
def test_work_that_a_host_would_take_for_a_breach_is_rejected(work, body):
    with pytest.raises(BadRequest):
        check(work, body, CARD)


def test_leases_and_what_is_no_frame_do_not_cross():
    lease = Lease(1, 1, 0, 4)
    for frame in (encode([Generate(1, lease, Sampling())]), encode([Release(1, 1)]), b"", b"\x90", b"\xc1"):
        with pytest.raises(ChannelError):
            decode_to_peer(frame)
    for frame in (encode([Embedded(1, lease, (1,))]), encode([Release(1, 1)]), b"", b"\x90", b"\xc1"):
        with pytest.raises(ChannelError):
            decode_from_peer(frame)


def test_what_waits_together_is_sent_in_frames_that_a_server_takes():
    messages = [Generate(number, bytes(60_000), Sampling()) for number in range(50)]
    sent = list(frames(messages))
    assert len(sent) > 1
    assert max(map(len, sent)) < FRAME_BYTES + 100
    assert [message for frame in sent for message in decode_to_peer(frame)] == messages
    assert len(list(frames([Generate(1, bytes(3 * FRAME_BYTES), Sampling())]))) == 1
    assert list(frames([])) == []


def test_the_protocols_name_is_the_same_each_time_and_short():
    assert own_hello() == own_hello()
    assert len(own_hello().protocol) == 16


def kinds(base=ServerError):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=str))
def test_every_error_crosses_as_itself_or_as_one_without_details(kind):
    if kind is errors.HostRefused:
        error = kind(RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", "messages"))
    else:
        error = kind("so it is", "messages", 3)
    crossed = decode_from_peer(encode([rejection(5, error)]))[0]
    if isinstance(crossed, Failed):
        again = from_host(crossed.error)
        assert (again.status, again.message, again.code) == (error.status, error.message, error.code)
        return
    assert isinstance(crossed, Rejected)
    again = error_of(crossed, "http://there")
    assert "http://there" in again.message
    if type(again) is type(error):
        assert (again.param, again.retry_after) == (error.param, error.retry_after)
    else:
        assert type(again) is errors.InternalError
        assert "so it is" not in again.message


def test_only_what_is_the_servers_own_trouble_goes_elsewhere():
    assert may_go_elsewhere(errors.QueueFull("x"))
    assert may_go_elsewhere(errors.ShuttingDown("x"))
    assert not may_go_elsewhere(errors.EngineCrashed("x"))
    assert not may_go_elsewhere(errors.BadRequest("x"))
    unforeseen = rejection(1, RuntimeError("/a/path"))
    assert isinstance(unforeseen, Rejected)
    assert "/a/path" not in unforeseen.message
