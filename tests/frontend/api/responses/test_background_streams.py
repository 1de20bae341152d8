"""Background responses that are streamed, and read again from any event."""

import asyncio

import pytest

from frontend.api.responses.event_log import EventLogs, LogReader
from frontend.api.schema.response_events import TextDelta
from frontend.errors import BadRequest, EngineCrashed
from frontend.parsing.events import Content
from tests.frontend.api.openai_types import accumulated
from tests.frontend.api.responses.test_resource import STOP, events_of, run


def test_a_background_response_is_streamed_and_can_be_read_again_from_any_event():
    async def story(server):
        server.scripts = [[Content("Hel"), Content("lo"), STOP]]
        events = events_of(await server.post(background=True, stream=True))
        assert [event.type.removeprefix("response.") for event in events][:4] == [
            "created",
            "queued",
            "in_progress",
            "output_item.added",
        ]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].response.status == "queued"
        assert accumulated(events).output_text == "Hello"
        response_id = events[0].response.id
        for after in (None, -1, 0, 4, len(events) - 2, len(events) - 1):
            fields = {} if after is None else {"starting_after": after}
            again = events_of(await server.get(response_id, stream="true", **fields))
            assert again == events[(-1 if after is None else after) + 1 :]
        assert (await server.get(response_id)).json["status"] == "completed"
        for wrong in (len(events), -2, "x"):
            result = await server.get(response_id, stream="true", starting_after=wrong)
            assert result.status_code == 400
            assert "starting_after" in result.json["error"]["message"]

    run(story)


def test_who_reads_on_gets_what_follows():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[Content("Hel"), gate, Content("lo"), STOP]]
        first = asyncio.create_task(server.post(background=True, stream=True))
        while not server.turns:
            await asyncio.sleep(0)
        (response_id,) = server.background._jobs
        await server.until(response_id, "in_progress")
        second = asyncio.create_task(server.get(response_id, stream="true", starting_after=2))
        await asyncio.sleep(0.01)
        gate.set()
        events = events_of(await first)
        assert events_of(await second) == events[3:]

    run(story)


def test_a_stream_that_is_cancelled_ends():
    async def story(server):
        server.scripts = [[Content("Hel"), asyncio.Event()]]
        reading = asyncio.create_task(server.post(background=True, stream=True))
        while not server.turns:
            await asyncio.sleep(0)
        (response_id,) = server.background._jobs
        await server.client.simulate_post(f"/v1/responses/{response_id}/cancel")
        events = events_of(await asyncio.wait_for(reading, 10))
        assert (events[-1].type, events[-1].response.status) == ("response.incomplete", "cancelled")
        assert [event.sequence_number for event in events] == list(range(len(events)))

    run(story)


def test_a_failure_is_the_last_event_also_for_those_who_come_later():
    async def story(server):
        server.scripts = [[Content("Hel"), EngineCrashed("died")]]
        events = events_of(await server.post(background=True, stream=True))
        assert (events[-1].type, events[-1].response.error.message) == ("response.failed", "died")
        response_id = events[-1].response.id
        assert events_of(await server.get(response_id, stream="true", starting_after=3)) == events[4:]

    run(story)


def test_heartbeats_have_numbers_of_their_own_and_come_again_as_such():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[Content("Hel"), gate, Content("lo"), STOP]]
        reading = asyncio.create_task(server.post(background=True, stream=True))
        while not server.turns:
            await asyncio.sleep(0)
        (response_id,) = server.background._jobs
        log = server.background.logs.find(response_id)
        await server.until(response_id, "in_progress")
        assert (log.beat(), log.beat()) == (b"", b"")  # all who read get them
        gate.set()
        events = events_of(await reading)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert [event.type for event in events].count("response.in_progress") == 3
        again = events_of(await server.get(response_id, stream="true"))
        assert [event.type for event in again] == [event.type for event in events]
        number = log.next_number
        assert (log.beat(), log.next_number) == (b"", number)  # none after the end

    run(story)


def test_only_responses_whose_events_are_kept_can_be_streamed():
    async def story(server):
        polled = (await server.post(background=True)).json
        result = await server.get(polled["id"], stream="true")
        assert (result.status_code, result.json["error"]["param"]) == (400, "stream")
        assert (await server.get("resp_none", stream="true")).status_code == 404
        events = events_of(await server.post(background=True, stream=True))
        response_id = events[0].response.id
        await server.client.simulate_delete(f"/v1/responses/{response_id}")
        assert (await server.get(response_id, stream="true")).status_code == 404
        assert server.background.logs.find(response_id) is None

    run(story)


def unheard(number=0):
    raise AssertionError


def deltas(first, count, characters):
    return [
        TextDelta(item_id="i", output_index=0, delta="x" * characters, sequence_number=number)
        for number in range(first, first + count)
    ]


def test_logs_are_bounded(monkeypatch):
    monkeypatch.setattr("frontend.api.responses.event_log._LEAST_BYTES", 1000)
    logs = EventLogs(most_bytes=10_000)
    old = logs.open("old", unheard, unheard)
    old.append(deltas(0, 5, 1000))
    old.end()
    log = logs.open("new", unheard, unheard)
    log.append(deltas(0, 5, 1000))
    assert logs.find("old") is None  # what has ended makes room first
    assert len(log.read(0)) == 5
    reader = LogReader(log, 0)
    log.append(deltas(5, 10, 1000))
    assert log.size <= 10_000
    assert len(log.read(9)) == 6
    with pytest.raises(BadRequest, match="no longer kept"):
        reader.take()
    log.append(deltas(15, 1, 100_000))
    assert len(log.read(15)) == 1  # the last is there however large it is


def test_logs_are_forgotten_some_time_after_the_end():
    async def story():
        logs = EventLogs(kept_seconds=0.0)
        logs.open("r", unheard, unheard).end()
        logs.expire("r")
        while logs.find("r") is not None:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(story(), 10))
