"""The socket pair: every message survives the trip; what is not a message is an error, never a crash."""

import os
import typing
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq

from ipc import channel, messages
from ipc.arena import Lease
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Accepted,
    Cancel,
    ChatMessage,
    ChatPrompt,
    Delta,
    DetectSpeech,
    Detokenize,
    Detokenized,
    Drain,
    Embed,
    Embedded,
    Failed,
    Fatal,
    Finish,
    Gauges,
    Generate,
    Launch,
    MediaPart,
    PromptScored,
    Ready,
    Release,
    Rerank,
    Reranked,
    Sampling,
    Segment,
    Speak,
    SpeechCard,
    SpeechDetected,
    SpeechSpan,
    Spoken,
    TextCard,
    TextOptions,
    TextPart,
    TextPrompt,
    Tokenize,
    Tokenized,
    TokenPrompt,
    ToolCall,
    Transcribe,
    Transcribed,
    TranscriptionCard,
    VectorCard,
    Voice,
    VoiceActivity,
    VoiceWeight,
    Word,
)

LEASE = Lease(0, 1, 4096, 70000, "u1", (70000,))
SAMPLING = Sampling(max_tokens=5, temperature=0.0, seed=0, stop=["\n", "é"])
FULL = Sampling(
    stop_token_ids=[2],
    include_stop=True,
    stop_at_turns=False,
    skip_special_tokens=False,
    logprobs=True,
    truncate_prompt=-1,
    grammar='{"type": "regex", "pattern": "a"}',
    reasoning_markers=["<think>", "</think>"],
    may_reason=True,
)
CALLING = ChatMessage("assistant", None, tool_calls=[ToolCall("c1", "f", '{"a": 1}')], reasoning="hm")
ANSWERED = ChatMessage("tool", "42", tool_call_id="c1")
TO_HOST = [
    Generate(1, b"prompt", SAMPLING),
    Generate(5, b"prompt", FULL, [1, 2**40, -3], True),
    Tokenize(6, b"prompt"),
    Detokenize(7, b"ids", True),
    Generate(4, LEASE, Sampling()),
    Embed(8, b"inputs", 256, "query: ", -1),
    Rerank(9, LEASE, None, "Find it."),
    Transcribe(10, LEASE, "en", True, "a", ["b"], 0.5, True, VoiceActivity(0.4), 16000, 1.5, 2),
    DetectSpeech(12, LEASE, 24000, VoiceActivity(0.4)),
    Speak(11, b"text", [VoiceWeight("a", 0.5)], 2.0, "wav", 3, 4),
    Cancel(4),
    Drain(),
    Release(0, 1),
]
PROMPTS = [
    ChatPrompt([ChatMessage("user", "hi", None)]),
    ChatPrompt([CALLING, ANSWERED], '[{"type": "function"}]', '{"x": 1}', False, True),
    ChatPrompt(
        [ChatMessage("user", [TextPart("a"), MediaPart("image/png", b"png"), MediaPart("a/b", b"", "low")])]
    ),
    TextPrompt("hi", False),
    TokenPrompt([1, 2**40, -3]),
]
TO_FRONTEND = [
    Ready(TextCard("CPU", 64, 8192, 1.5, "f", {"A": "1"}, 49152, 100_000, "{{ messages }}")),
    Ready(VectorCard("CPU", 64, 512, 1.5, "f", {}, 384, {"query": "query: "})),
    Ready(TranscriptionCard("CPU", 1, 448, 1.5, "f", {}, ["en", "de"], True)),
    Ready(SpeechCard("CPU", 1, 510, 1.5, "f", {}, [Voice("a", "en-US")], 24000)),
    Transcribed(10, 2.5, [Segment(0.5, 2.0, "a b", [Word("a", 0.5, 1.0)])], "en"),
    Transcribed(10, 2.5, last=True, duration=2.5),
    SpeechDetected(12, 2.5, [SpeechSpan(0.5, 2.0)], True),
    Spoken(11, LEASE, 24000),
    Accepted(1, 12),
    Accepted(1, 2, "<|im_start|>assistant\n", [5, 6]),
    PromptScored(1, [0.0, -1.5], [5, 6], [b"h", b"i"]),
    Tokenized(6, [5, 6], "hi", ["h", "i"]),
    Detokenized(7, "hi"),
    Delta(2, [6, 7], ""),
    Delta(1, [5, 6], "\u00e9", None, [-0.5, 0.0], [b"\xc3", b"\xa9"]),
    Delta(1, [], "", Finish("length")),
    Delta(1, [5], "a", Finish("stop", "\n"), cached_tokens=32),
    Delta(1, [5], "a", Finish("stop", 2)),
    Embedded(8, bytes(8), (1, 2), 5),
    Reranked(9, LEASE, (3,), 5),
    Failed(2, RequestError(ErrorCode.INVALID_VALUE, "no", "top_p")),
    Release(0, 1),
    Gauges(1, 0, 0.5),
    Fatal("out of memory"),
    Fatal("no such device", permanent=True, detail="Traceback"),
]


@pytest.fixture
def ends(tmp_path):
    context = zmq.Context()
    frontend = channel.bind(context, str(tmp_path / "s"))
    host = channel.connect(context, f"ipc://{tmp_path / 's'}")
    yield frontend, host
    frontend.close()
    host.close()
    context.term()


def received(end):
    end.wait(10.0)
    return end.receive()


@pytest.mark.parametrize("message", TO_HOST, ids=repr)
def test_messages_reach_the_host_unchanged(ends, message):
    frontend, host = ends
    frontend.send([message], timeout=10.0)
    assert received(host) == [message]


@pytest.mark.parametrize("message", TO_FRONTEND, ids=repr)
def test_messages_reach_the_frontend_unchanged(ends, message):
    frontend, host = ends
    host.send([message], timeout=10.0)
    assert received(frontend) == [message]


def test_a_message_that_would_not_arrive_is_not_sent(ends):
    _, host = ends
    with pytest.raises(channel.MessageTooLarge, match="at most"):
        host.send([Detokenized(1, "x" * channel.MAX_MESSAGE_BYTES)])


def test_a_socket_that_cannot_be_bound_is_an_error_of_the_channel(tmp_path):
    context = zmq.Context()
    with pytest.raises(channel.ChannelError, match="cannot listen"):
        channel.bind(context, str(tmp_path / "none" / "s"))
    context.term()


def test_the_samples_above_cover_every_message():
    def kinds(union):
        return {typing.get_origin(kind) or kind for kind in typing.get_args(union)}

    assert {type(m) for m in TO_HOST} == kinds(messages.TO_HOST_TYPE)
    assert {type(m) for m in TO_FRONTEND} == kinds(messages.TO_FRONTEND_TYPE)
    assert {type(m.card) for m in TO_FRONTEND if isinstance(m, Ready)} == kinds(messages.CARD_TYPE)
    assert {type(prompt) for prompt in PROMPTS} == kinds(messages.Prompt)


@pytest.mark.parametrize("prompt", PROMPTS, ids=repr)
def test_prompts_survive_as_payloads(prompt):
    body = msgspec.msgpack.encode(prompt)
    assert msgspec.msgpack.decode(body, type=messages.Prompt) == prompt


def test_the_messages_of_a_moment_travel_in_one_frame(ends):
    frontend, host = ends
    host.send(TO_FRONTEND, timeout=10.0)
    assert received(frontend) == TO_FRONTEND
    assert frontend.receive() == []


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"garbage",
        msgspec.msgpack.encode([["Unknown", 1]]),
        msgspec.msgpack.encode([["Accepted", "x", 1]]),
        msgspec.msgpack.encode(["Accepted", 1, 1]),
    ],
)
def test_what_is_not_a_message_is_an_error(tmp_path, frame):
    context = zmq.Context()
    frontend = channel.bind(context, str(tmp_path / "s"))
    rogue = context.socket(zmq.DEALER)
    rogue.connect(f"ipc://{tmp_path / 's'}")
    rogue.send(frame)
    with pytest.raises(channel.ChannelError, match="undecodable"):
        received(frontend)
    frontend.close()
    rogue.close(linger=0)
    context.term()


def test_a_reader_that_stops_reading_is_an_error_and_not_a_wait(tmp_path):
    context = zmq.Context()
    frontend = channel.bind(context, str(tmp_path / "s"))  # nobody connects
    with pytest.raises(channel.ChannelError, match="stopped reading"):
        for number in range(2 * channel.HIGH_WATER_MARK):
            frontend.send([Cancel(number)])
    frontend.close()
    context.term()


def test_a_socket_path_that_the_kernel_would_cut_is_refused():
    context = zmq.Context()
    with pytest.raises(channel.ChannelError, match="at most 107"):
        channel.bind(context, "/" + "x" * 107)
    context.term()


def launch_with(options):
    return Launch(
        frontend_pid=1,
        endpoint="ipc://x",
        model="m",
        path="p",
        engine="text",
        device="CPU",
        properties={"A": "B"},
        threads=0,
        cpus=[0],
        load_seconds=1.0,
        stall_seconds=1.0,
        faults=False,
        options=options,
    )


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@contextmanager
def packed(launch):
    fd = channel.pack_launch(launch)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("options", [task.options() for task in messages.TASKS], ids=repr)
def test_the_launch_message_survives_the_trip(options):
    with packed(launch_with(options)) as fd:
        assert channel.unpack_launch(fd) == launch_with(options)


def test_a_large_launch_message_waits_for_nobody():
    launch = launch_with(TextOptions(kv_cache_bytes=1, chat_template="x" * 1024**2))
    with packed(launch) as fd:  # nobody reads it yet
        assert channel.unpack_launch(fd) == launch


def test_a_launch_message_that_no_host_would_read_is_an_error_and_leaves_no_descriptor_open():
    before = open_descriptors()
    with pytest.raises(channel.MessageTooLarge, match=r"the settings of m take \d+ bytes, at most"):
        channel.pack_launch(launch_with(TextOptions(kv_cache_bytes=1, chat_template="x" * 8 * 1024**2)))
    assert open_descriptors() == before


def test_a_launch_message_cannot_be_changed_or_cut_after_it_was_written():
    with packed(launch_with(TextOptions(kv_cache_bytes=1))) as fd, pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


@pytest.mark.parametrize("content", [b"", b"garbage", msgspec.msgpack.encode([1, 2])])
def test_what_is_not_a_launch_message_is_an_error(tmp_path, content):
    (tmp_path / "launch").write_bytes(content)
    with (tmp_path / "launch").open("rb") as file, pytest.raises(channel.ChannelError, match="undecodable"):
        channel.unpack_launch(file.fileno())
