"""The library of a server whose hosts are real processes with the synthetic engine."""

import asyncio
import contextlib
import os
import signal
import time
from typing import Any

import pytest

from frontend.config import ConfigError, Settings
from frontend.errors import Conflict, ModelNotFound, ModelUnavailable
from frontend.library import ModelEvent
from frontend.routing.route import LocalRoute
from frontend.supervision.lifecycle import State
from frontend.tasks.generation import generate
from ipc.messages import Launch
from tests.frontend.residency.serving import Serving, run, spec, synthetic, tokens_of, wait_for

ONE = Settings(max_loaded_models=1, eviction_wait_seconds=0.2, drain_seconds=10.0)


def test_the_models_of_the_start_are_loaded_and_others_with_their_first_request():
    async def scenario(serving: Serving) -> None:
        await serving.until("early", "ready")
        assert serving.state("late") == "unloaded"
        assert serving.library.status("late").memory_bytes == 0
        assert await serving.ask("late") == 4
        status = serving.library.status("late")
        assert (status.state, status.task, status.engine) == ("ready", "text", "synthetic")
        assert status.memory_bytes > 10_000_000
        assert status.context_length == 32_768
        assert status.load_seconds is not None
        assert status.loaded_at is not None
        assert abs(status.loaded_at - time.time()) < 60
        assert serving.loads("early") == serving.loads("late") == 1

    run(scenario, Settings(), synthetic("early"), synthetic("late", preload=False))


def test_models_take_turns_where_only_one_may_be_loaded_and_waiters_share_a_load():
    async def scenario(serving: Serving) -> None:
        await asyncio.gather(*(serving.ask("a") for _ in range(5)))
        await asyncio.gather(*(serving.ask("b") for _ in range(5)))
        assert (serving.loads("a"), serving.loads("b")) == (1, 1)
        assert serving.unloads("a", "room") == 1
        assert serving.state("a") == "unloaded"

    run(scenario, ONE, synthetic("a", preload=False), synthetic("b", preload=False))


def test_only_what_fits_is_loaded_at_the_start_where_there_is_a_limit():
    async def scenario(serving: Serving) -> None:
        await serving.until("a", "ready")
        assert serving.state("b") == "unloaded"
        await serving.ask("b")
        assert serving.unloads("a", "room") == 1

    run(scenario, Settings(memory_budget_gib={"CPU": 0.7}), synthetic("a"), synthetic("b"))


def test_unloading_finishes_what_runs_and_what_arrives_meanwhile_gets_it_loaded_again():
    async def scenario(serving: Serving) -> None:
        await serving.until("a", "ready")
        running = await serving.begin("a", tokens=40)
        await running.accepted()
        unloading = asyncio.create_task(serving.library.unload("a"))
        await serving.until("a", "draining")
        late = asyncio.create_task(serving.ask("a"))
        assert await tokens_of(running) == 40
        await unloading
        assert await late == 4
        assert serving.loads("a") == 2
        assert serving.unloads("a", "asked") == 1

    run(scenario, Settings(), synthetic("a", rate=100.0))


def test_a_busy_model_makes_room_only_after_its_request():
    async def scenario(serving: Serving) -> None:
        running = await serving.begin("a", tokens=100)
        await running.accepted()
        other = asyncio.create_task(serving.ask("b"))
        await serving.until("a", "draining")
        assert await tokens_of(running) == 100
        await other
        assert serving.fleet.of("a")[0].restarts == 0

    run(scenario, ONE, synthetic("a", rate=100.0, preload=False), synthetic("b", preload=False))


def test_whoever_leaves_while_waiting_costs_no_eviction():
    async def scenario(serving: Serving) -> None:
        running = await serving.begin("a", tokens=30)
        await running.accepted()
        other = asyncio.create_task(serving.ask("b"))
        await wait_for(lambda: serving.library.status("b").queued, "b is waited for")
        other.cancel()
        await asyncio.wait([other])
        await tokens_of(running)
        await serving.ask("a")
        assert (serving.loads("a"), serving.loads("b")) == (1, 0)

    patient = Settings(max_loaded_models=1, eviction_wait_seconds=60.0)
    run(scenario, patient, synthetic("a", rate=100.0, preload=False), synthetic("b", preload=False))


def test_a_model_may_be_kept_for_the_time_that_a_request_names():
    async def scenario(serving: Serving) -> None:
        await serving.ask("a")
        assert serving.library.status("a").expires_at is None
        serving.library.keep_alive("a", 100.0)
        expires_at = serving.library.status("a").expires_at
        assert expires_at is not None
        assert 0 < expires_at - time.time() < 101
        serving.library.keep_alive("a", 0.0)
        await serving.until("a", "unloaded")
        assert serving.unloads("a", "idle") == 1
        await serving.ask("a")
        assert serving.library.status("a").expires_at is None, "as configured again"

    run(scenario, Settings(), synthetic("a"))


def test_a_pinned_model_stays_and_says_why_nothing_else_can_be_loaded():
    async def scenario(serving: Serving) -> None:
        await serving.ask("a")
        serving.library.pin("a", pinned=True)
        with pytest.raises(ModelUnavailable, match="is pinned; unpin one, or raise max_loaded_models"):
            await serving.ask("b")
        with pytest.raises(ModelUnavailable, match="is pinned"):
            await serving.library.load("b")
        serving.library.pin("a", pinned=False)
        await serving.library.load("b")
        assert serving.state("b") == "ready"

    run(scenario, ONE, synthetic("a", preload=False), synthetic("b", preload=False))


def test_a_model_that_cannot_fit_is_refused_at_once_with_the_numbers():
    async def scenario(serving: Serving) -> None:
        with pytest.raises(
            ModelUnavailable, match=r"needs about 456\.0 MiB, but the memory budget is 307\.2 MiB"
        ):
            await serving.ask("a")

    run(scenario, Settings(memory_budget_gib={"CPU": 0.3}), synthetic("a", preload=False))


def test_a_request_waits_for_its_model_for_a_bounded_time_and_is_told_the_progress():
    async def scenario(serving: Serving) -> None:
        running = await serving.begin("a", tokens=1000)
        await running.accepted()
        route = serving.router.routes["b"]
        assert isinstance(route, LocalRoute)
        assert route.loader is not None
        route.loader.wait_seconds = 0.3
        with pytest.raises(
            ModelUnavailable, match=r"was not loaded within 0\.3 seconds; it needs 456"
        ) as raised:
            await serving.ask("b")
        assert raised.value.retry_after
        running.close()

    run(
        scenario,
        Settings(max_loaded_models=1, eviction_wait_seconds=60.0),
        synthetic("a", rate=100.0, preload=False),
        synthetic("b", preload=False),
    )


def test_a_host_that_is_killed_while_it_loads_costs_no_request():
    async def scenario(serving: Serving) -> None:
        asked = asyncio.create_task(serving.ask("a"))
        await wait_for(lambda: serving.fleet.of("a")[0].pid, "the host was started")
        pid = serving.fleet.of("a")[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await asked == 4

    run(scenario, Settings(), synthetic("a", preload=False))


def test_models_are_added_and_removed_while_the_server_runs():
    async def scenario(serving: Serving) -> None:
        status = await serving.library.add("synthetic:1000", "new")
        assert (status.state, status.source) == ("unloaded", "synthetic:1000")
        await serving.ask("new")
        assert serving.library.status("new").expires_at is not None
        with pytest.raises(Conflict):
            await serving.library.add("synthetic", "new")
        with pytest.raises(ModelNotFound, match="cannot be served"):
            await serving.library.add("/nowhere/model")
        await serving.library.remove("new")
        with pytest.raises(ModelNotFound):
            serving.library.status("new")
        with pytest.raises(ModelNotFound):
            await serving.library.load("new")

    run(scenario, Settings(), synthetic("a", preload=False))


def faults() -> list[dict[str, object]]:
    """What goes wrong in callbacks of the event loop from now on."""
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    return seen


def test_removals_race_with_requests_that_find_the_model_again():
    async def scenario(serving: Serving) -> None:
        seen, is_over = faults(), False

        async def find(_: str) -> bool:
            with contextlib.suppress(Conflict):
                await serving.library.add("synthetic:1000", "m")
            return True

        async def keep_asking() -> int:
            answered = 0
            while not is_over:
                with contextlib.suppress(ModelNotFound):
                    answered += await serving.ask("m") == 4
                await asyncio.sleep(0.002)
            return answered

        serving.router.find_missing = find
        asking = [asyncio.create_task(keep_asking()) for _ in range(3)]
        for attempt in range(4):
            await wait_for(lambda: "m" in serving.library.names(), "it was found")
            if attempt % 2:
                await serving.until("m", "ready")
            first, second = await asyncio.gather(
                serving.library.remove("m"), serving.library.remove("m"), return_exceptions=True
            )
            assert (first, type(second)) == (None, ModelNotFound)
        is_over = True
        await asyncio.gather(*asking)
        assert await serving.ask("m") == 4
        await serving.library.remove("m")
        assert (seen, serving.library.names(), serving.fleet.supervisors) == ([], set(), [])

    run(scenario, Settings())


def test_a_name_is_free_once_its_model_is_gone_and_what_the_model_had_ends_at_once():
    async def scenario(serving: Serving) -> None:
        seen = faults()
        model = await serving.router.model("a")
        running = await serving.begin("a", tokens=1000)
        await running.accepted()
        async with serving.library.removing(["a", "reserved"]):
            assert serving.fleet.supervisors[0].life.state is State.STOPPED
            for name in ("a", "reserved"):
                with pytest.raises(Conflict, match="is being removed"):
                    await serving.library.add("synthetic", name)
                with pytest.raises(ModelNotFound):
                    await serving.library.load(name)
            with pytest.raises(ModelNotFound, match="was removed"):
                generate(model, [spec(4)], streaming=False)
            with pytest.raises(ModelNotFound, match="was removed"):
                await tokens_of(running)
            with pytest.raises(ModelNotFound):
                await serving.ask("a")
        await serving.library.add("synthetic", "a")
        with pytest.raises(ModelNotFound, match="was removed"):
            generate(model, [spec(4)], streaming=False)
        assert await serving.ask("a") == 4
        assert seen == []

    run(scenario, Settings(), synthetic("a", rate=100.0))


def test_a_removal_that_is_refused_leaves_the_model_served():
    async def scenario(serving: Serving) -> None:
        await serving.until("start", "ready")
        assert await serving.ask("late") == 4
        with pytest.raises(Conflict, match="another process"):
            async with serving.library.removing(["start", "late"]):
                raise Conflict("another process has it loaded")
        await serving.until("start", "ready")
        assert serving.models.persists(serving.fleet.of("start")[0])
        assert serving.state("late") == "unloaded"
        assert (await serving.ask("late"), await serving.ask("start")) == (4, 4)

    run(scenario, Settings(), synthetic("start"), synthetic("late", preload=False))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_model_may_be_removed_while_it_is_loaded_or_replaced(replaced):
    async def scenario(serving: Serving) -> None:
        seen = faults()
        loading = asyncio.create_task(serving.library.load("a"))
        await wait_for(lambda: serving.fleet.of("a")[0].pid, "its host was started")
        if replaced:
            serving.models.replace(synthetic("a", rate=10.0))
        began = time.monotonic()
        await serving.library.remove("a")
        assert time.monotonic() - began < 5, "nobody loads it again meanwhile"
        with pytest.raises(ModelNotFound):
            await loading
        assert (seen, serving.fleet.supervisors, serving.library.names()) == ([], [], set())

    run(scenario, Settings(drain_seconds=10.0), synthetic("a", preload=False))


def test_the_host_of_a_removed_model_may_leave_late():
    async def scenario(serving: Serving) -> None:
        seen = faults()
        await serving.ask("a")
        pid = serving.fleet.of("a")[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        serving.library._stop_seconds = 0.0
        await serving.library.remove("a")
        late = serving.fleet.supervisors
        assert len(late) == 1
        await serving.library.add("synthetic", "a")
        assert serving.fleet.of("a") != late
        assert await serving.ask("a") == 4
        os.kill(pid, signal.SIGKILL)
        await wait_for(lambda: serving.fleet.supervisors == serving.fleet.of("a"), "the late one is gone")
        assert (serving.state("a"), await serving.ask("a"), seen) == ("ready", 4, [])

    run(scenario, Settings(), synthetic("a", preload=False))


def test_events_tell_each_change_of_a_state():
    async def scenario(serving: Serving) -> None:
        seen: list[ModelEvent] = []

        async def listen() -> None:
            async for event in serving.library.events():
                seen.append(event)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await serving.library.load("a", keep_alive=-1.0)
        await serving.library.unload("a")
        await serving.library.remove("a")
        await wait_for(lambda: seen and seen[-1].status is None, "the removal is told")
        listening.cancel()
        states = [event.status.state for event in seen if event.status]
        changes = [state for index, state in enumerate(states) if index == 0 or states[index - 1] != state]
        assert changes == ["loading", "ready", "draining", "unloaded"]

    run(scenario, Settings(), synthetic("a", preload=False))


def test_random_operations_with_requests_running_end_right_and_leave_no_host_behind():
    async def scenario(serving: Serving) -> None:
        async def keep_asking(name: str) -> None:
            for _ in range(4):
                assert await serving.ask(name) == 4

        async def disturb() -> None:
            for index in range(7):
                name = "abc"[index % 3]
                if index % 2:
                    await serving.library.unload(name)
                else:
                    await serving.library.load(name)

        await asyncio.gather(*(keep_asking(name) for name in "abc"), disturb())

    models = (synthetic(name, preload=False) for name in "abc")
    run(scenario, Settings(max_loaded_models=2, eviction_wait_seconds=0.2), *models)


def test_a_load_that_cannot_begin_is_answered_and_the_next_one_tried():
    async def scenario(serving: Serving) -> None:
        served = serving.models._manager.served["a"]
        launch = served.launch

        def fails(smaller: bool) -> Launch[Any]:
            raise ConfigError("the folder for uploads is gone")

        served.launch = fails
        with pytest.raises(ModelUnavailable, match="the folder for uploads is gone"):
            await serving.library.load("a")
        assert serving.state("a") == "failed"
        served.launch = launch
        await wait_for(lambda: serving.models._manager.resident("a").again_after < time.monotonic(), "again")
        await serving.library.load("a")

    run(scenario, Settings(), synthetic("a", preload=False))


def test_a_model_that_is_let_go_is_unloaded_unless_it_is_pinned():
    async def scenario(serving: Serving) -> None:
        await serving.until("a", "ready")
        serving.library.pin("a", True)
        await serving.library.let_go("a")
        assert serving.state("a") == "ready"
        serving.library.pin("a", False)
        await serving.library.let_go("a")
        assert serving.state("a") == "unloaded"

    run(scenario, Settings(), synthetic("a"))
