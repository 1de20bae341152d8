"""Questions to hosts: answered by whichever is ready, asked again after a death, never waiting for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from frontend.errors import BadRequest, EngineCrashed, ModelUnavailable, QueueFull
from frontend.routing.job import ResultJob
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from ipc.arena import Lease
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Prompt,
    TextPrompt,
    Tokenize,
    Tokenized,
)
from tests.frontend.routing.hosts import CARD, History


def in_a_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def ask(history: History, question: TextPrompt | list[int]) -> "asyncio.Future[Any]":
    """Tokenize a prompt, or detokenize ids. Cancel the answer to leave."""
    work = Detokenize(0, b"") if isinstance(question, list) else Tokenize(0, b"")
    job = ResultJob(work, msgspec.msgpack.encode(question), history.now, "prompt", needs_slot=False)
    history.route.submit([job])
    job.result.add_done_callback(lambda _: None if job.ended else history.route.drop([job]))
    return job.result


def questions(history: History) -> int:
    return history.route._questions


def queued(history: History) -> float:
    value: float = history.metrics.queued._value.get()
    return value


def asked(history: History, host: int = 0) -> list[Any]:
    return [m for m in history.hosts[host].sent if isinstance(m, Tokenize | Detokenize)]


def test_a_question_is_answered_by_a_host_that_is_ready():
    async def scenario():
        history = History()
        answer = ask(history, TextPrompt("some text"))
        (question,) = asked(history)
        assert msgspec.msgpack.decode(question.payload, type=Prompt) == TextPrompt("some text")
        history.say(0, Tokenized(question.request_id, [1, 2], "some text", ["some", " text"]))
        assert await answer == Tokenized(question.request_id, [1, 2], "some text", ["some", " text"])
        assert questions(history) == 0

    in_a_loop(scenario)


def test_a_question_and_a_generation_never_share_an_id():
    async def scenario():
        history = History()
        history.ask("a")
        ask(history, [1])
        (question,) = asked(history)
        assert question.request_id != history.hosts[0].held()[0].request_id

    in_a_loop(scenario)


def test_what_a_host_refuses_is_an_error_of_the_question_alone():
    async def scenario():
        history = History()
        generation = history.ask("a")
        answer = ask(history, [-1])
        refusal = RequestError(ErrorCode.INVALID_VALUE, "token id -1 is outside the vocabulary", "tokens")
        history.say(0, Failed(asked(history)[0].request_id, refusal))
        with pytest.raises(BadRequest):
            await answer
        assert generation._error is None

    in_a_loop(scenario)


def test_a_question_waits_for_a_host_and_is_asked_again_after_a_death():
    async def scenario():
        history = History()
        answer = ask(history, TextPrompt("t"))
        history.die()
        assert not asked(history)
        history.ready_again()
        (question,) = asked(history)
        history.say(0, Tokenized(question.request_id, [1], "t", ["t"]))
        assert await answer == Tokenized(question.request_id, [1], "t", ["t"])

    in_a_loop(scenario)


def test_a_question_that_two_hosts_died_with_is_given_up():
    async def scenario():
        history = History()
        answer = ask(history, TextPrompt("t"))
        for _ in range(2):
            history.die()
            history.ready_again()
        with pytest.raises(EngineCrashed, match="SIGSEGV"):
            await answer
        assert not asked(history)

    in_a_loop(scenario)


def test_a_question_that_busy_servers_do_not_take_is_asked_again_and_again():
    async def scenario():
        history = History()
        answer = ask(history, TextPrompt("t"))
        (replica,) = history.route.replicas
        for _ in range(5):
            (question,) = asked(history)
            history.hosts[0].sent.clear()
            busy = QueueFull("10 requests wait", retry_after=1)
            death = Death("m", 0, "far", 0, "ready", expected=True, lost=busy.message)
            history.route.rejected(replica, question.request_id, busy, death)
        (question,) = asked(history)
        history.say(0, Tokenized(question.request_id, [1], "t", ["t"]))
        assert await answer == Tokenized(question.request_id, [1], "t", ["t"])

    in_a_loop(scenario)


def test_an_answer_that_nobody_waits_for_is_dropped():
    async def scenario():
        history = History()
        ask(history, [1]).cancel()
        history.say(0, Detokenized(asked(history)[0].request_id, "x"))
        assert questions(history) == 0

    in_a_loop(scenario)


def test_the_gauge_tells_of_questions_that_wait_and_of_none_that_are_answered_or_forgotten():
    async def scenario():
        history = History()
        answer, refused, forgotten = (ask(history, [1]) for _ in range(3))
        assert queued(history) == 3
        first, second, third = (question.request_id for question in asked(history))
        history.say(0, Detokenized(first, "x"))
        await answer
        history.say(0, Failed(second, RequestError(ErrorCode.INVALID_VALUE, "no", "tokens")))
        with pytest.raises(BadRequest):
            await refused
        forgotten.cancel()
        await asyncio.sleep(0)  # the futures' callbacks
        assert queued(history) == 1  # the host is still at work on it
        history.say(0, Detokenized(third, "x"))
        assert queued(history) == 0
        history.become(State.LOADING)
        waiting = ask(history, [1])
        assert queued(history) == 1
        waiting.cancel()
        await asyncio.sleep(0)
        assert queued(history) == 0

    in_a_loop(scenario)


def test_a_large_prompt_goes_through_the_arena_and_waits_while_that_is_full():
    async def scenario():
        history = History()
        ask(history, TextPrompt("x" * 100_000))
        assert not asked(history)
        history.hosts[0].room = Lease(0, 1, 0, 100_010)
        history.route.pump()
        assert asked(history)[0].payload == history.hosts[0].room

    in_a_loop(scenario)


def test_the_questions_of_a_model_are_bounded():
    async def scenario():
        history = History(max_queue=2)
        history.ready_again()
        history.become(State.LOADING)
        for _ in range(2):
            ask(history, TextPrompt("t"))
        with pytest.raises(QueueFull):
            ask(history, TextPrompt("t"))
        assert await history.route.card() == CARD  # known: nobody has to wait

    in_a_loop(scenario)


def test_the_card_is_known_once_a_host_was_ready_and_whoever_waits_for_it_is_counted():
    async def scenario():
        history = History()
        history.die()
        waiting, gone = history.route.card(), history.route.card()
        assert questions(history) == 2
        gone.cancel()
        history.ready_again()
        assert await waiting == CARD
        await asyncio.sleep(0)  # the futures' callbacks
        assert questions(history) == 0
        history.die()
        assert await history.route.card() == CARD

    in_a_loop(scenario)


def test_a_model_that_never_comes_up_ends_all_questions():
    async def scenario():
        history = History()
        history.die()
        answers: list[Any] = [history.route.card(), ask(history, TextPrompt("t"))]
        history.become(State.FAILED)
        for answer in answers:
            with pytest.raises(ModelUnavailable):
                await answer
        with pytest.raises(ModelUnavailable):
            ask(history, TextPrompt("t"))

    in_a_loop(scenario)


def test_a_question_needs_no_trial_and_leaves_a_lone_generation_alone():
    async def scenario():
        history = History(replicas=2)
        generation = history.ask("a")
        history.accept(0)
        ask(history, TextPrompt("t"))
        history.die(0)
        assert history.holds(1) == ["a"]  # on trial
        history.ready_again(0)
        assert len(asked(history, 0)) == 1
        history.die(1)  # the second death with "a" alone: the question did not count
        assert isinstance(generation._error, EngineCrashed)

    in_a_loop(scenario)


def test_prompt_tokens_are_counted_for_results_as_for_texts():
    async def scenario():
        history = History()
        job = ResultJob(Embed(0, b""), b"inputs", history.now, "input")
        history.route.submit([job])
        (work,) = (m for m in history.hosts[0].sent if isinstance(m, Embed))
        history.say(0, Embedded(work.request_id, bytes(4), (1, 1), prompt_tokens=5))
        await job.result
        assert history.metrics.prompt_tokens._value.get() == 5

    in_a_loop(scenario)
