"""The way from the API to a model, with a recording host behind it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from frontend.errors import ClientGone, RequestTimeout, RequestTooLarge
from frontend.observability.metrics import Metrics
from frontend.routing.generation import SequenceSpec
from frontend.routing.router import Router, RouterOptions
from frontend.supervision.lifecycle import State
from ipc.channel import MAX_MESSAGE_BYTES
from ipc.messages import Detokenize, Sampling, TextPrompt
from tests.frontend.routing.hosts import History

SPECS = [SequenceSpec(TextPrompt("a"), Sampling())]


def with_router(scenario: Callable[[Router, History], Awaitable[None]]) -> None:
    async def run() -> None:
        history = History()
        router = Router(RouterOptions(100, 64 * 1024**2, request_timeout_seconds=1000.0), Metrics())
        router.models["m"] = history.route
        await scenario(router, history)

    asyncio.run(run())


def test_the_time_that_a_request_has_waited_already_counts():
    async def scenario(router: Router, history: History) -> None:
        young = router.generate("m", SPECS, streaming=True, age_seconds=900.0)
        old = router.generate("m", SPECS, streaming=True, age_seconds=1000.0)
        with pytest.raises(RequestTimeout, match="1000 seconds"):
            await old.accepted()
        history.accept()
        await young.accepted()
        young.close()

    with_router(scenario)


def test_who_leaves_waits_for_no_answer():
    async def scenario(router: Router, history: History) -> None:
        history.become(State.LOADING)
        leave: list[Callable[[], None]] = []
        asking = [
            asyncio.create_task(router.card("m", leave.append)),
            asyncio.create_task(router.ask("m", TextPrompt("t"), leave.append)),
        ]
        while len(leave) < len(asking):
            await asyncio.sleep(0)
        assert len(history.route._queries) == 2
        for callback in leave:
            callback()
        assert [type(answer) for answer in await asyncio.gather(*asking, return_exceptions=True)] == [
            ClientGone,
            ClientGone,
        ]
        assert len(history.route._queries) == 0

    with_router(scenario)


def test_token_ids_that_no_message_can_hold_are_refused():
    async def scenario(router: Router, history: History) -> None:
        with pytest.raises(RequestTooLarge) as caught:
            await router.ask("m", Detokenize(0, [2**20] * (MAX_MESSAGE_BYTES // 5)))
        assert caught.value.param == "tokens"

    with_router(scenario)
