"""Background responses that are streamed, and read again from any event."""

import asyncio
import time

import msgspec
import pytest

from frontend.access.sight import asking
from frontend.api.responses.event_log import EventLogs, LogReader
from frontend.api.responses.request import response_of
from frontend.api.responses.resource import new_id
from frontend.api.responses.stream import followed
from frontend.api.schema.response_events import InProgress, TextDelta
from frontend.api.schema.responses import ResponsesRequest
from frontend.caller import Caller
from frontend.errors import BadRequest, EngineCrashed, RequestCancelled
from frontend.http.client import Client, _current, current_client
from frontend.http.exchange import Exchange
from frontend.parsing.events import Content
from tests.frontend.api.openai_types import accumulated, checked_event
from tests.frontend.api.responses.test_resource import STOP, events_of, run


async def streaming(server):
    """A request for a background stream whose turn has begun, and the id of its response."""
    reading = asyncio.create_task(server.post(background=True, stream=True))
    while not server.turns:
        await asyncio.sleep(0)
    (response_id,) = server.background._jobs
    return reading, response_id


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
        for wrong in (len(events), -2, "x", "1.5", "", "null"):
            result = await server.get(response_id, stream="true", starting_after=wrong)
            assert (result.status_code, result.json["error"]["param"]) == (400, "starting_after")
            assert result.json["error"]["message"].startswith("starting_after: must be ")
        result = await server.get(response_id, stream="xx")
        assert (result.status_code, result.json["error"]["param"]) == (400, "stream")
        assert result.json["error"]["message"] == 'stream: must be "true" or "false"'

    run(story)


def test_who_reads_on_gets_what_follows():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[Content("Hel"), gate, Content("lo"), STOP]]
        first, response_id = await streaming(server)
        await server.until(response_id, "in_progress")
        second = asyncio.create_task(server.get(response_id, stream="true", starting_after=2))
        while len(server.background.logs.find(response_id)._listeners) < 2:
            await asyncio.sleep(0)
        gate.set()
        events = events_of(await first)
        assert events_of(await second) == events[3:]

    run(story)


def test_a_stream_that_is_cancelled_ends():
    async def story(server):
        server.scripts = [[Content("Hel"), asyncio.Event()]]
        reading, response_id = await streaming(server)
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
        reading, response_id = await streaming(server)
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


def unheard():
    raise AssertionError


def beats(*numbers):
    """The events of heartbeats, and what makes them."""
    body = response_of(msgspec.convert({"model": "m", "input": "x" * 9}, ResponsesRequest), new_id, 0)
    return iter([InProgress(response=body, sequence_number=number) for number in numbers]).__next__


def deltas(first, count, characters):
    return [
        TextDelta(item_id="i", output_index=0, delta="x" * characters, sequence_number=number)
        for number in range(first, first + count)
    ]


def ended(logs, response_id, *events):
    log = logs.open(response_id, unheard)
    log.append(events)
    log.end()
    logs.expire(response_id)
    return log


def looped(story):
    """For timers."""

    async def within():
        story()

    asyncio.run(within())


def bounded_logs():
    logs = EventLogs(most_bytes=10_000)
    ended(logs, "old", *deltas(0, 5, 1000))
    log = logs.open("new", unheard)
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


def test_logs_are_bounded():
    looped(bounded_logs)


def test_the_largest_log_makes_room_for_all():
    logs = EventLogs(most_bytes=10_000)
    large, small = (logs.open(name, unheard) for name in ("large", "small"))
    large.append(deltas(0, 8, 1000))
    for number in range(3):
        small.append(deltas(number, 1, 1000))
    assert len(small.read(0)) == 3
    assert large.size + small.size <= 10_000
    logs.remove("large")
    small.append(deltas(3, 5, 1000))
    assert len(small.read(0)) == 8  # the room of the other is free


def test_logs_that_have_ended_are_bounded_in_number_and_hold_no_builder():
    def story():
        logs = EventLogs(most_ended=2)
        last = [ended(logs, name) for name in "abc"][-1]
        assert [logs.find(name) is not None for name in "abc"] == [False, True, True]
        assert last.beat() == b""  # calls nothing

    looped(story)


def test_an_append_costs_the_same_whatever_the_number_of_logs():
    class Counted(dict):
        looks = 0

        def values(self):
            self.looks += 1
            return super().values()

    logs = EventLogs()
    logs._logs = Counted()
    for number in range(20):
        logs.open(str(number), unheard).append(deltas(0, 5, 10))
    assert logs._logs.looks == 0


def test_heartbeats_come_again_as_they_were_and_take_little_memory():
    log = EventLogs().open("r", beats(*range(100)))
    log.beat()
    size = log.size
    for _ in range(99):
        log.beat()
    assert log.size - size < 99 * 20
    frames = log.read(0)
    assert len(frames) == 100
    for number, frame in enumerate(frames):
        assert checked_event(frame.decode().partition("data: ")[2]).sequence_number == number


def test_a_heartbeat_has_no_output_and_is_the_same_when_it_is_read_again():
    async def story(server):
        gate, begun = asyncio.Event(), asyncio.Event()
        server.scripts = [[begun, Content("Hel"), gate, EngineCrashed("died")]]
        reading, response_id = await streaming(server)
        log = server.background.logs.find(response_id)
        log.beat()
        begun.set()
        while log.next_number < 7:
            await asyncio.sleep(0)
        log.beat()
        gate.set()
        events = events_of(await reading)
        assert events_of(await server.get(response_id, stream="true")) == events
        beats = [event.response for event in events if event.type == "response.in_progress"]
        assert [(beat.status, beat.output, beat.error) for beat in beats] == [("in_progress", [], None)] * 3

    run(story)


def test_a_heartbeat_of_a_queued_response_stays_one():
    async def story(server):
        may_begin = asyncio.Event()
        begin = server.background._begin

        async def late(spec, request):
            await may_begin.wait()
            return await begin(spec, request)

        server.background._begin = late
        reading = asyncio.create_task(server.post(background=True, stream=True))
        while not server.background.running:
            await asyncio.sleep(0)
        (response_id,) = server.background._jobs
        server.background.logs.find(response_id).beat()
        may_begin.set()
        events = events_of(await reading)
        assert [event.type for event in events[:4]] == [
            "response.created",
            "response.queued",
            "response.queued",
            "response.in_progress",
        ]
        assert events_of(await server.get(response_id, stream="true")) == events

    run(story)


def test_a_log_is_read_in_slices():
    log = EventLogs().open("r", unheard)
    log.append(deltas(0, 20, 100_000))
    reader, slices = LogReader(log, 0), []
    while frames := reader.take():
        slices.append(len(frames))
    assert sum(slices) == 20
    assert max(slices) == 3
    log.check(20)


def test_the_event_of_a_stream_that_breaks_has_the_readers_next_number():
    async def story():
        log = EventLogs(most_bytes=3000).open("r", unheard)
        log.append(deltas(0, 2, 1000))
        reader = LogReader(log, 0)
        exchange = Exchange("", 0.0)
        events = followed(reader, None, exchange)
        await anext(events)
        log.append(deltas(2, 5, 1000))
        event = checked_event((await anext(events)).decode().partition("data: ")[2])
        assert (event.type, event.sequence_number) == ("error", 2)

    asyncio.run(story())


def test_a_background_response_outlives_the_client_that_asked_for_it():
    clients = []

    async def story(server):
        begin = server.background._begin

        async def noting(spec, request):
            clients.append(current_client())
            return await begin(spec, request)

        server.background._begin = noting
        _current.set(Client(time.monotonic))  # as for a request
        body = (await server.post(background=True)).json
        await server.until(body["id"], "completed")
        assert clients == [None]

    run(story)


def test_a_stream_ends_although_its_last_event_cannot_be_encoded():
    async def story(server):
        gate = asyncio.Event()
        server.scripts = [[Content("Hel"), gate, STOP]]
        reading, response_id = await streaming(server)
        server.background._jobs[response_id].builder.announce = lambda: 1 / 0
        log = server.background.logs.find(response_id)
        gate.set()
        await asyncio.wait_for(reading, 10)
        assert log.ended
        assert response_id in server.background.logs._ended

    run(story)


def test_logs_are_forgotten_some_time_after_the_end():
    async def story():
        logs = EventLogs(kept_seconds=0.0)
        ended(logs, "r")
        while logs.find("r") is not None:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(story(), 10))


def test_operators_see_what_is_made_in_the_background_and_can_end_it():
    async def story(server):
        told = []
        server.background.in_flight.on_end.append(lambda exchange, *_: told.append(exchange.outcome))
        server.scripts = [[Content("Hel"), asyncio.Event()], [Content("Hello"), STOP]]
        with asking(Caller("alice")):
            body = (await server.post(background=True)).json
            await server.until(body["id"], "in_progress")
            [entry] = server.background.in_flight
            shown = (entry.exchange.request_id, entry.exchange.route, entry.exchange.model)
            assert shown == (body["id"], "/v1/responses", "m")
            assert entry.exchange.caller.key_id == "alice"
            error = RequestCancelled("an operator ended it")
            assert len(server.background.in_flight.cancel(body["id"], error)) == 1
            ended = await server.until(body["id"], "failed")
            assert ended["error"]["message"] == "an operator ended it"
            assert ended["output"][0]["content"][0]["text"] == "Hel"
            await server.until((await server.post(background=True)).json["id"], "completed")
        assert not list(server.background.in_flight)
        assert told == ["request_cancelled", "ok"]

    run(story)
