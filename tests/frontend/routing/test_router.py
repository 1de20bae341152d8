"""The way from the API to a model, with a recording host behind it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from frontend.errors import ClientGone, ModelNotFound, RequestTimeout, RequestTooLarge
from frontend.routing.router import Model, Router, RouterOptions
from frontend.supervision.lifecycle import State
from frontend.tasks.generation import generate
from frontend.tasks.text import SequenceSpec
from ipc.messages import Detokenize, Sampling, TextPrompt, Tokenize
from tests.frontend.routing.hosts import CARD, History

ARENA_BYTES = 64 * 1024
SPECS = [SequenceSpec(TextPrompt("a"), Sampling())]


def with_router(scenario: Callable[[Router, History], Awaitable[None]]) -> None:
    async def run() -> None:
        history = History()
        router = Router(RouterOptions(ARENA_BYTES, request_timeout_seconds=1000.0))
        router.add(history.route)
        await scenario(router, history)

    asyncio.run(run())


async def ready_model(router: Router, history: History) -> Model:
    history.ready_again()
    return await router.model("m")


def test_the_time_that_a_request_has_waited_already_counts():
    async def scenario(router: Router, history: History) -> None:
        model = await ready_model(router, history)
        young = generate(model, SPECS, streaming=True, age_seconds=900.0)
        old = generate(model, SPECS, streaming=True, age_seconds=1000.0)
        with pytest.raises(RequestTimeout, match="1000 seconds"):
            await old.accepted()
        history.accept()
        await young.accepted()
        young.close()

    with_router(scenario)


def test_who_leaves_waits_for_no_answer():
    async def scenario(router: Router, history: History) -> None:
        model = Model(router, history.route, CARD)
        history.become(State.LOADING)
        leave: list[Callable[[], None]] = []
        asking = [
            asyncio.create_task(router.model("m", leave.append)),
            asyncio.create_task(model.ask(Tokenize(0, b""), b"t", "prompt", leave.append, needs_slot=False)),
        ]
        while len(leave) < len(asking):
            await asyncio.sleep(0)
        assert history.route._questions == 2
        for callback in leave:
            callback()
        assert [type(answer) for answer in await asyncio.gather(*asking, return_exceptions=True)] == [
            ClientGone,
            ClientGone,
        ]
        assert history.route._questions == 0

    with_router(scenario)


def test_token_ids_that_shared_memory_cannot_hold_are_refused():
    async def scenario(router: Router, history: History) -> None:
        model = await ready_model(router, history)
        with pytest.raises(RequestTooLarge) as caught:
            await model.ask(Detokenize(0, b""), bytes(ARENA_BYTES + 1), "tokens", needs_slot=False)
        assert caught.value.param == "tokens"

    with_router(scenario)


def test_routes_come_and_go_while_the_server_runs():
    async def scenario(router: Router, history: History) -> None:
        model = await ready_model(router, history)
        running = generate(model, SPECS, streaming=True)
        router.remove("m")
        with pytest.raises(ModelNotFound):
            await running.accepted()
        with pytest.raises(ModelNotFound, match="'m' does not exist; models served here: none"):
            await router.model("m")
        assert history.holds() == []

    with_router(scenario)
