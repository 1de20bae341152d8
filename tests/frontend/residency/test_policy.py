"""The residency policy as histories of events, without a process."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.residency.policy import advance
from frontend.residency.state import (
    Added,
    Close,
    Demanded,
    KeptAlive,
    Limits,
    Load,
    LoadFailed,
    Phase,
    Pinned,
    Reason,
    Released,
    Reopen,
    Residency,
    Resident,
    Started,
    Stop,
)
from tests.frontend.residency.world import World

ONE = Limits(budgets={"CPU": 100}, eviction_wait_seconds=10)


def model(name: str, size: int = 80, **fields: object) -> Resident:
    return Resident(name=name, device="CPU", bytes=size, **fields)  # type: ignore[arg-type]


def two() -> World:
    return World(ONE, model("a"), model("b"))


def serve(world: World, name: str) -> None:
    """One request from its arrival to its end."""
    world.ask(name)
    world.pass_time(10)
    assert world.running[name] == 1
    world.finish(name)


def test_a_request_loads_its_model_and_the_next_finds_it_loaded():
    world = two()
    serve(world, "a")
    serve(world, "a")
    assert world.actions == [Load("a")]


def test_the_idle_model_makes_room_and_is_gone_before_the_other_loads():
    world = two()
    serve(world, "a")
    serve(world, "b")
    assert world.actions == [Load("a"), Stop("a", Reason.ROOM), Load("b")]


def test_models_that_fit_together_stay():
    world = World(ONE, model("a", 40), model("b", 40))
    serve(world, "a")
    serve(world, "b")
    assert world.stops == []


def test_the_least_recently_used_leaves_and_no_more_than_necessary():
    world = World(ONE, model("a", 30), model("b", 30), model("c", 30), model("d", 30))
    for name in ("b", "a", "c", "b"):
        serve(world, name)
    serve(world, "d")
    assert world.stops == ["a"]


def test_a_small_old_model_stays_where_only_a_large_one_makes_room():
    world = World(ONE, model("small", 10), model("large", 80), model("new", 90))
    serve(world, "small")
    serve(world, "large")
    serve(world, "new")
    assert world.stops == ["large"]


def test_one_model_at_a_time_where_that_is_the_limit():
    world = World(Limits(max_loaded=1), model("a"), model("b"))
    serve(world, "a")
    serve(world, "b")
    assert world.stops == ["a"]


def test_devices_have_budgets_of_their_own():
    world = World(ONE, model("a"), Resident(name="g", device="GPU.0", bytes=10**9))
    serve(world, "a")
    serve(world, "g")
    assert world.stops == []


def test_a_busy_model_is_not_interrupted_and_makes_room_after_a_bounded_wait():
    world = two()
    world.ask("a")
    world.pass_time(5)
    world.ask("b")
    world.pass_time(9)
    assert Close("a") not in world.actions
    world.pass_time(2)
    assert Close("a") in world.actions
    world.ask("a")  # while it is closed
    assert (world.running["a"], world.waiting["a"]) == (1, 1)
    world.finish("a")
    world.pass_time(4)
    assert world.running == {"a": 0, "b": 1}, "b was loaded once the request of a had ended"
    world.finish("b")
    world.pass_time(10)
    assert world.running["a"] == 1, "what waited for a got it loaded again"


def test_constant_traffic_for_two_models_serves_both_in_turns():
    world = two()
    served = {"a": 0, "b": 0}
    for _ in range(600):
        for name in served:
            if world.running[name]:
                world.finish(name)
                served[name] += 1
            if not world.waiting[name]:
                world.ask(name)
        world.pass_time(0.5)
    assert min(served.values()) > 100
    assert len(world.loads) < 25


def test_whoever_waited_for_the_place_of_a_busy_model_may_leave_and_costs_nothing():
    world = two()
    world.ask("a")
    world.pass_time(5)
    world.ask("b")
    world.pass_time(5)
    world.leave("b")
    world.pass_time(100)
    assert world.actions == [Load("a")]


def test_a_model_that_was_closed_for_nobody_goes_on():
    world = two()
    world.ask("a")
    world.pass_time(5)
    world.ask("b")
    world.pass_time(12)
    world.leave("b")
    assert world.actions == [Load("a"), Close("a"), Reopen("a")]
    world.ask("a")
    assert world.running["a"] == 2


def test_models_are_loaded_in_the_order_in_which_they_were_wanted():
    world = World(ONE, *(model(name) for name in "abcd"))
    serve(world, "a")
    for name in "cbdc":
        world.ask(name)
        world.pass_time(0.001)
    for name in "cbd":
        world.pass_time(10)
        world.finish(name)
        if world.running[name]:
            world.finish(name)
    assert world.loads == ["a", "c", "b", "d"]


def test_a_large_model_is_not_overtaken_for_ever_by_small_ones():
    world = World(ONE, model("a", 60), model("large", 90), model("small", 30))
    world.ask("a")
    world.pass_time(5)
    world.ask("large")
    world.ask("small")
    world.pass_time(5)
    assert world.loads == ["a"], "small would fit, but large came first"


def test_a_pinned_model_stays_and_what_cannot_fit_beside_it_is_refused_with_the_numbers():
    world = two()
    serve(world, "a")
    world.tell(Pinned("a", pinned=True))
    world.ask("b")
    [refusal] = world.refused
    assert (refusal.needed, refusal.budget, refusal.pinned) == (80, 100, 80)
    world.tell(Pinned("a", pinned=False))
    serve(world, "b")


def test_what_is_larger_than_the_budget_is_refused_at_once_and_evicts_nobody():
    world = World(ONE, model("a"), model("huge", 101))
    serve(world, "a")
    world.ask("huge")
    assert [refusal.name for refusal in world.refused] == ["huge"]
    assert world.stops == []


def test_an_idle_model_is_unloaded_after_its_keep_alive_and_a_busy_or_pinned_one_is_not():
    world = World(
        Limits(),
        model("a", keep_alive=60.0),
        model("b", keep_alive=60.0, pinned=True),
        model("c", keep_alive=60.0),
    )
    for name in "ab":
        serve(world, name)
    world.ask("c")
    world.pass_time(59 - 13)
    assert world.stops == []
    world.pass_time(500)
    assert world.actions[-1] == Stop("a", Reason.IDLE)
    assert world.stops == ["a"]


def test_a_keep_alive_of_nothing_unloads_a_model_once_it_is_idle():
    world = two()
    world.ask("a")
    world.pass_time(10)
    world.tell(KeptAlive("a", 0.0))
    assert world.stops == []
    world.finish("a")
    world.pass_time(1)
    assert world.stops == ["a"]


def test_a_model_that_is_loaded_for_nobody_in_particular_is_not_unloaded_before_it_could_be_used():
    world = two()
    world.tell(Demanded("a"))
    world.ask("b")
    world.pass_time(4)
    assert world.stops == []
    world.pass_time(10)
    assert world.stops == ["a"]


def test_a_model_is_unloaded_on_request_after_what_runs():
    world = two()
    world.ask("a")
    world.pass_time(5)
    world.tell(Released("a"))
    assert world.phase("a") is Phase.CLOSING
    world.pass_time(100)
    world.finish("a")
    assert world.actions[-1] == Stop("a", Reason.ASKED)


def test_a_failed_load_is_tried_again_by_the_next_request_after_a_pause_and_at_once_on_demand():
    world = two()
    world.ask("a")
    world.tell(LoadFailed("a"))
    world.leave("a")
    world.pass_time(0.6)
    world.ask("a")
    assert world.loads == ["a"]
    world.tell(Demanded("a"))
    assert world.loads == ["a", "a"]
    world.tell(LoadFailed("a"))
    world.pass_time(1.5)
    assert world.loads == ["a", "a"], "the pause grows"
    world.pass_time(1)
    assert world.loads == ["a", "a", "a"]


def test_a_load_that_runs_out_of_memory_is_tried_once_more_without_the_idle_models():
    world = World(Limits(budgets={"CPU": 1000}), model("a"), model("b"), model("busy"))
    serve(world, "b")
    world.ask("busy")
    world.pass_time(5)
    world.ask("a")
    world.tell(LoadFailed("a", out_of_memory=True))
    assert world.actions[-2:] == [Stop("a", Reason.FAILED), Stop("b", Reason.MEMORY)]
    world.pass_time(1)
    assert world.actions[-1] == Load("a", smaller=False)
    world.tell(LoadFailed("a", out_of_memory=True))
    world.leave("a")
    world.pass_time(100)
    assert world.loads.count("a") == 2, "the second time is the last"


def test_a_load_that_runs_out_of_memory_is_tried_smaller_where_nothing_is_idle():
    world = two()
    world.ask("a")
    world.tell(LoadFailed("a", out_of_memory=True))
    world.pass_time(1)
    assert world.actions[-1] == Load("a", smaller=True)
    world.pass_time(5)
    assert world.running["a"] == 1


def test_a_model_of_the_start_that_fails_is_left_to_its_hosts_which_try_again():
    world = two()
    world.tell(Started("a"))
    world.tell(LoadFailed("a"))
    assert (world.phase("a"), world.stops) == (Phase.UNLOADED, [])
    world.tell(Started("a"))
    assert world.phase("a") is Phase.LOADING


def test_a_model_of_the_start_that_a_request_loads_first_keeps_trying_too():
    world = two()
    world.ask("a")
    world.tell(Started("a"))
    world.tell(LoadFailed("a"))
    assert (world.phase("a"), world.stops) == (Phase.UNLOADED, [])


NAMES = "abcde"


def test_a_model_of_the_start_that_runs_out_of_memory_twice_is_left_to_its_hosts():
    world = two()
    world.tell(Started("a"))
    world.tell(LoadFailed("a", out_of_memory=True))
    world.pass_time(1)
    assert world.actions == [Stop("a", Reason.FAILED), Load("a", smaller=True)]
    for _ in range(3):
        world.tell(LoadFailed("a", out_of_memory=True))
        assert (world.phase("a"), len(world.actions)) == (Phase.UNLOADED, 2)
        world.tell(Started("a"))


POSSIBLE = {
    "ask": lambda world, name, _: world.ask(name),
    "finish": lambda world, name, _: world.finish(name) if world.running[name] else None,
    "leave": lambda world, name, _: world.leave(name) if world.waiting[name] else None,
    "time": lambda world, _, seconds: world.pass_time(seconds),
    "pin": lambda world, name, seconds: world.tell(Pinned(name, pinned=seconds < 1)),
    "release": lambda world, name, _: world.tell(Released(name)),
    "demand": lambda world, name, _: world.tell(Demanded(name)),
    "fail": lambda world, name, seconds: world.fail(name, out_of_memory=seconds < 1),
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*POSSIBLE, "ask", "finish", "time"]),
        st.sampled_from(NAMES),
        st.sampled_from([0.01, 0.3, 2.0, 12.0]),
    ),
    max_size=120,
)


@given(STEPS, st.integers(0, 2), st.lists(st.integers(10, 110), min_size=5, max_size=5))
@settings(max_examples=150, deadline=None)
def test_in_any_history_limits_hold_nothing_busy_stops_and_every_request_is_served(steps, most, sizes):
    """`World` checks the limits after each event, and that nothing busy is stopped."""
    world = World(
        Limits(budgets={"CPU": 100}, max_loaded=most, eviction_wait_seconds=5.0),
        *(model(name, size, keep_alive=20.0) for name, size in zip(NAMES, sizes, strict=True)),
    )
    for step, name, seconds in steps:
        POSSIBLE[step](world, name, seconds)
    for name in NAMES:
        world.tell(Pinned(name, pinned=False))
    for _ in range(200):
        for name in NAMES:
            while world.running[name]:
                world.finish(name)
        world.pass_time(6.0)
    assert not any(world.waiting.values()), world.state
    assert all(world.phase(name) is Phase.UNLOADED for name in NAMES), "idle for longer than they are kept"


@pytest.mark.parametrize("seed", range(5))
def test_no_more_loads_than_switches_of_the_order_of_requests(seed):
    random_numbers = random.Random(seed)
    world, order = two(), [random_numbers.choice("ab") for _ in range(50)]
    for name in order:
        world.ask(name)
        world.pass_time(random_numbers.choice([0.0, 0.2, 4.0]))
        if world.running[name]:
            world.finish(name)
    for _ in range(60):
        for name in "ab":
            while world.running[name]:
                world.finish(name)
        world.pass_time(1)
    switches = 1 + sum(one != other for one, other in itertools.pairwise(order))
    assert len(world.loads) <= switches
    assert not any(world.waiting.values())


def test_a_load_that_could_not_begin_is_over_also_for_a_model_that_is_always_loaded():
    residency, _ = advance(Residency(ONE), Added(model("a")), 0.0)
    residency, _ = advance(residency, Started("a"), 0.0)
    residency, actions = advance(residency, LoadFailed("a", launched=False), 1.0)
    assert actions == [Stop("a", Reason.FAILED)]
    assert not residency.models["a"].persistent
