"""The stream between router and API: nothing is lost, nobody waits for ever."""

import asyncio

import pytest

from frontend.errors import BadRequest, ClientGone
from frontend.observability.metrics import Metrics
from frontend.tasks.generation import Generation, Usage
from frontend.tasks.text import Output, SequenceSpec
from ipc.messages import Accepted, Delta, Finish, Sampling, TextPrompt

SPEC = SequenceSpec(TextPrompt("p"), Sampling())


def generation(choices: int = 1) -> tuple[Generation, list[object]]:
    abandoned: list[object] = []
    return Generation([SPEC] * choices, 0.0, abandoned.append), abandoned


def test_what_came_between_two_reads_comes_at_once_and_in_order():
    async def scenario():
        stream, _ = generation()
        stream.push(Output(0, "a"))
        stream.push(Output(0, "b"))
        assert [output.text for output in await stream.outputs()] == ["a", "b"]
        stream.push(Output(0, "", "stop"))
        assert [output.finish_reason for output in await stream.outputs()] == ["stop"]
        assert await stream.outputs() == []

    asyncio.run(scenario())


def test_a_waiting_reader_wakes_at_an_output():
    async def scenario():
        stream, _ = generation()
        reader = asyncio.create_task(stream.outputs())
        await asyncio.sleep(0)
        stream.push(Output(0, "a"))
        stream.flush()
        assert [output.text for output in await reader] == ["a"]

    asyncio.run(scenario())


def test_a_stream_ends_only_when_all_choices_have():
    async def scenario():
        stream, _ = generation(choices=2)
        stream.push(Output(1, "", "stop"))
        await stream.outputs()
        reader = asyncio.create_task(stream.outputs())
        await asyncio.sleep(0)
        assert not reader.done()
        stream.push(Output(0, "", "length"))
        stream.flush()
        assert len(await reader) == 1
        assert await stream.outputs() == []

    asyncio.run(scenario())


def test_output_before_an_error_is_delivered_before_the_error():
    async def scenario():
        stream, abandoned = generation()
        stream.push(Output(0, "a"))
        stream.cancel(BadRequest("no"))
        assert len(await stream.outputs()) == 1
        with pytest.raises(BadRequest):
            await stream.outputs()
        assert abandoned == [stream.sequences]

    asyncio.run(scenario())


def test_acceptance_waits_for_every_choice_and_raises_a_refusal():
    async def scenario():
        stream, _ = generation(choices=2)
        waiter = asyncio.create_task(stream.accepted())
        stream.sequence_accepted()
        await asyncio.sleep(0)
        assert not waiter.done()
        stream.cancel(BadRequest("no"))
        with pytest.raises(BadRequest):
            await waiter

    asyncio.run(scenario())


def test_closing_cancels_what_runs_and_is_harmless_at_the_end():
    stream, abandoned = generation()
    stream.close()
    stream.close()
    assert abandoned == [stream.sequences]
    finished, none = generation()
    finished.push(Output(0, "", "stop"))
    finished.close()
    assert none == []


def test_the_first_error_stays():
    async def scenario():
        stream, _ = generation()
        stream.cancel(BadRequest("first"))
        stream.cancel(ClientGone())
        with pytest.raises(BadRequest):
            await stream.outputs()

    asyncio.run(scenario())


def test_a_prompt_counts_once_however_many_choices_it_has():
    specs = [SequenceSpec(TextPrompt("p"), Sampling(), index) for index in (0, 0, 1)]
    stream = Generation(specs, 0.0, lambda _: None)
    for sequence, prompt_tokens in zip(stream.sequences, (5, 5, 7), strict=True):
        sequence.journal.prompt_tokens = prompt_tokens
        sequence.journal.token_ids = [1, 2]
    assert stream.usage == Usage(prompt_tokens=12, completion_tokens=6)


def test_a_prompt_with_images_counts_with_them_as_soon_as_one_choice_has_ended():
    specs = [SequenceSpec(TextPrompt("p"), Sampling()) for _ in range(3)]
    stream = Generation(specs, 0.0, lambda _: None)
    metrics = Metrics().of_model("m")
    for sequence in stream.sequences:
        sequence.take(Accepted(1, 5), 0.0, metrics)
    stream.sequences[1].take(Delta(1, [7], "x", Finish("stop", prompt_tokens=21)), 0.0, metrics)
    assert stream.usage == Usage(prompt_tokens=21, completion_tokens=1)


def test_a_generation_that_is_closed_keeps_its_usage_but_not_its_prompt():
    async def scenario():
        stream, _ = generation()
        [sequence] = stream.sequences
        sequence.journal.prompt_tokens = 3
        assert sequence.body != b""
        stream.close()
        assert (sequence.body, sequence.spec.prompt) == (b"", TextPrompt(""))
        assert stream.usage == Usage(3, 0)

    asyncio.run(scenario())


def test_a_choice_that_its_reader_ends_is_dropped_alone_with_the_tokens_it_has():
    async def scenario():
        stream, abandoned = generation(choices=2)
        metrics = Metrics().of_model("m")
        stream.sequences[0].take(Delta(1, [5, 6], "ab"), 0.0, metrics)
        stream.sequences[0].take(Delta(1, [7], "c"), 0.0, metrics)
        stream.end(0, token_ids=2)
        assert abandoned == [[stream.sequences[0]]]
        stream.take()
        assert not stream.finished
        stream.sequences[1].take(Delta(2, [8], "d", Finish("stop")), 0.0, metrics)
        stream.take()
        assert stream.finished
        assert stream.usage.completion_tokens == 3

    asyncio.run(scenario())
