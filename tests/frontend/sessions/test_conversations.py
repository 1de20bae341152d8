"""Conversations by session id: kept whole, one turn at a time, bounded, and never a defect of the store's."""

import asyncio
import hashlib
import logging
import random

import msgspec
import pytest

from frontend.access.sight import asking
from frontend.caller import ANYBODY, Caller
from frontend.errors import BadRequest, Conflict, RequestTooLarge, StoreUnavailable
from frontend.sessions import conversations as module
from frontend.sessions.conversations import Conversations
from ipc.messages import ChatMessage, MediaPart, TextPart, ToolCall
from tests.frontend.sessions.conftest import opened

IMAGE = MediaPart("image/png", b"\x89PNG")
HI, HELLO = ChatMessage("user", "Hi"), ChatMessage("assistant", "Hello")

# A record of every version of the layout, with what it holds. Never edited: users' stores hold such records.
STORED = {
    1: (
        b"\xc1\x00\x01\x1d2\xec\xa1\x94\x96\xa4user\xa2Hi\xc0\x90\xc0\xc0\x96\xa9assistant\xc0\xc0\x91\x93\xa6"
        b"call_1\xa1f\xa2{}\xc0\xc0\x96\xa4tool\xa14\xa1f\x90\xa6call_1\xc0"
        b"\x96\xa9assistant\xa4Four\xa4name\x90\xc0\xa52 + 2",
        [
            HI,
            ChatMessage("assistant", None, tool_calls=[ToolCall("call_1", "f", "{}")]),
            ChatMessage("tool", "4", "f", tool_call_id="call_1"),
            ChatMessage("assistant", "Four", "name", reasoning="2 + 2"),
        ],
    )
}


def test_a_conversation_goes_on_where_it_stopped(url):
    async def story():
        async with opened(url) as store:
            conversations = Conversations(store, 60)
            turn = await conversations.begin("a", [HI])
            assert turn.messages == [HI]
            call = ChatMessage("assistant", None, tool_calls=[ToolCall("1", "f", "{}")], reasoning="hm")
            await turn.keep(call)
            turn.close()
            turn = await conversations.begin("a", [HI])
            assert turn.messages == [HI, call, HI]
            assert (await conversations.begin("b", [HI])).messages == [HI]

    asyncio.run(story())


def test_each_caller_has_conversations_of_its_own_and_all_without_keys_share_theirs():
    async def story():
        async with opened("memory:") as store:
            conversations = Conversations(store, 60)
            digest = hashlib.sha256(b"a").hexdigest()
            for caller, named in ((Caller("a"), "x"), (Caller("b"), "x"), (ANYBODY, "x"), (ANYBODY, digest)):
                with asking(caller):
                    turn = await conversations.begin(named, [HI])  # nor is another's turn in the way
                    assert turn.messages == [HI]
                    await turn.keep(HELLO)
            with asking(Caller("a")), pytest.raises(Conflict):
                await conversations.begin("x", [HI])

    asyncio.run(story())


def test_an_answer_that_goes_on_in_the_last_message_is_part_of_it(url):
    async def story():
        async with opened(url) as store:
            conversations = Conversations(store, 60)
            turn = await conversations.begin("a", [HI, HELLO])
            await turn.keep(ChatMessage("assistant", ", Ada"), goes_on=True)
            turn.close()
            assert (await conversations.begin("a", [])).messages == [
                HI,
                ChatMessage("assistant", "Hello, Ada"),
            ]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("content", "continued"),
    [
        (None, ", Ada"),
        ([TextPart("One"), TextPart("Hello")], [TextPart("One"), TextPart("Hello, Ada")]),
        ([], [TextPart(", Ada")]),
        ([IMAGE], [IMAGE, TextPart(", Ada")]),
    ],
    ids=["nothing", "texts", "no parts", "image"],
)
def test_content_in_parts_is_stored_and_continued(content, continued):
    async def story():
        async with opened("memory:") as store:
            conversations = Conversations(store, 60)
            turn = await conversations.begin("a", [HI, ChatMessage("assistant", content)])
            await turn.keep(ChatMessage("assistant", ", Ada"), goes_on=True)
            turn.close()
            assert (await conversations.begin("a", [])).messages == [HI, ChatMessage("assistant", continued)]

    asyncio.run(story())


def test_a_conversation_that_expires_during_its_turn_is_kept_all_the_same(url):
    async def story():
        async with opened(url) as store:
            conversations = Conversations(store, 60)
            turn = await conversations.begin("a", [HI])
            await turn.keep(HELLO)
            turn.close()
            turn = await conversations.begin("a", [HI])
            assert await store.delete("conversation:a")
            await turn.keep(HELLO)
            turn.close()
            assert (await conversations.begin("a", [])).messages == [HI, HELLO, HI, HELLO]

    asyncio.run(story())


def test_a_turn_that_failed_leaves_nothing(url):
    async def story():
        async with opened(url) as store:
            conversations = Conversations(store, 60)
            (await conversations.begin("a", [HI])).close()
            assert (await conversations.begin("a", [HELLO])).messages == [HELLO]

    asyncio.run(story())


def test_a_second_turn_at_the_same_time_is_a_409_before_any_work():
    async def story():
        async with opened("memory:") as store:
            conversations = Conversations(store, 60)
            turn = await conversations.begin("a", [HI])
            with pytest.raises(Conflict) as caught:
                await conversations.begin("a", [HI])
            assert (caught.value.status, caught.value.param) == (409, "session_id")
            turn.close()
            turn.close()
            await conversations.begin("a", [HI])

    asyncio.run(story())


def test_a_turn_that_nobody_closed_blocks_its_conversation_no_longer_than_a_turn_can_take():
    async def story():
        now = 0.0
        async with opened("memory:") as store:
            conversations = Conversations(store, 60, lambda: now)
            lost = await conversations.begin("a", [HI])
            now = 60.0
            await conversations.begin("a", [HI])
            lost.close()  # late, and no longer its turn
            with pytest.raises(Conflict):
                await conversations.begin("a", [HI])

    asyncio.run(story())


def test_of_two_servers_the_slower_turn_is_not_kept(url):
    async def story():
        async with opened(url) as store:
            turns = [await Conversations(store, 60).begin("a", [HI]) for _ in range(2)]
            await turns[0].keep(HELLO)
            with pytest.raises(Conflict):
                await turns[1].keep(ChatMessage("assistant", "Good day"))
            assert (await Conversations(store, 60).begin("a", [])).messages == [HI, HELLO]

    asyncio.run(story())


@pytest.mark.parametrize(("name", "bound"), [("MAX_MESSAGES", 3), ("MAX_BYTES", 60)])
def test_a_conversation_that_would_become_too_long_is_refused(name, bound, monkeypatch):
    monkeypatch.setattr(module, name, bound)

    async def story():
        async with opened("memory:") as store:
            conversations = Conversations(store, 60)
            turn = await conversations.begin("a", [HI])
            await turn.keep(HELLO)
            turn.close()
            for _ in range(2):  # the refusal leaves the conversation free
                with pytest.raises(BadRequest) as caught:
                    await conversations.begin("a", [HI, HI])
                assert caught.value.param == "session_id"

    asyncio.run(story())


def test_a_store_that_is_down_is_a_503_and_leaves_the_conversation_free(redis_server):
    async def story():
        async with opened(redis_server.url) as store:
            conversations = Conversations(store, 60)
            redis_server.stop()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await conversations.begin("a", [HI])

    asyncio.run(story())


def test_an_answer_too_large_for_the_store_is_refused():
    async def story():
        async with opened("memory:") as store:
            turn = await Conversations(store, 60).begin("a", [HI])
            with pytest.raises(RequestTooLarge):
                await turn.keep(ChatMessage("assistant", "x" * 300_000))

    asyncio.run(story())


@pytest.mark.parametrize("version", range(1, module.VERSION + 1))
def test_stored_conversations_of_every_version_can_be_continued(version):
    record, messages = STORED[version]

    async def story():
        async with opened("memory:") as store:
            await store.put("conversation:a", record)
            assert (await Conversations(store, 60).begin("a", [HI])).messages == [*messages, HI]

    asyncio.run(story())


def unreadable() -> list[bytes]:
    """Random bytes, truncated and altered records, and records of an older and a newer layout."""
    chance = random.Random(9)
    record, messages = STORED[module.VERSION]
    altered = [bytearray(record) for _ in range(100)]
    for data in altered:
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    return [
        msgspec.msgpack.encode(messages),
        record[:2] + bytes([module.VERSION + 1]) + record[3:],
        *(chance.randbytes(chance.randrange(100)) for _ in range(300)),
        *(record[:length] for length in range(len(record))),
        *map(bytes, altered),
    ]


def test_a_conversation_that_cannot_be_decoded_starts_afresh_and_goes_on_from_there(caplog):
    async def story():
        async with opened("memory:") as store:
            conversations = Conversations(store, 60)
            for data in unreadable():
                await store.put("conversation:a", data)
                turn = await conversations.begin("a", [HI])
                assert turn.messages == [HI]
                await turn.keep(HELLO)
                turn.close()
                turn = await conversations.begin("a", [HI])
                assert turn.messages == [HI, HELLO, HI]
                turn.close()

    asyncio.run(story())
    [warning] = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert "conversation:a" in warning.getMessage()


def test_a_conversation_that_cannot_be_decoded_starts_afresh_in_every_store(url):
    async def story():
        async with opened(url) as store:
            await store.put("conversation:a", b"\xff damaged")
            turn = await Conversations(store, 60).begin("a", [HI])
            await turn.keep(HELLO)
            assert (await Conversations(store, 60).begin("a", [])).messages == [HI, HELLO]

    asyncio.run(story())
