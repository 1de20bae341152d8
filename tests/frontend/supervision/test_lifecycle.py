"""The life of a replica as histories of events, without a process."""

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.supervision import lifecycle
from frontend.supervision.lifecycle import (
    HALF_OPEN_SECONDS,
    MAX_DEATHS,
    Action,
    BecameReady,
    CancelTimer,
    Died,
    Event,
    Kill,
    Leave,
    Lifecycle,
    LoadBegan,
    Recycle,
    RequestCompleted,
    SendDrain,
    Spawn,
    Stalled,
    Start,
    StartTimer,
    State,
    Stop,
    Terminate,
    Timer,
    TimerFired,
    advance,
    backoff_seconds,
)

DEAD = Died("it broke")
BEYOND_REPAIR = Died("no such device", permanent=True)
STOP = Stop(drain_seconds=30, term_seconds=5)
RECYCLE = Recycle(drain_seconds=30, term_seconds=5)
UP: list[Event] = [Start(), LoadBegan(), BecameReady()]


def live(*events: Event) -> tuple[Lifecycle, list[Action]]:
    """The state after a history, and what the last event made us do."""
    life, actions = Lifecycle(), list[Action]()
    for event in events:
        life, actions = advance(life, event)
    return life, actions


def test_a_start_spawns_and_leads_over_loading_to_ready():
    assert live(Start()) == (Lifecycle(State.STARTING), [Spawn()])
    assert live(Start(), LoadBegan())[0].state is State.LOADING
    assert live(*UP)[0].state is State.READY


def test_a_tiny_model_may_be_ready_before_a_tick_saw_it_loading():
    assert live(Start(), BecameReady())[0].state is State.READY


def test_the_first_restart_is_immediate():
    life, actions = live(*UP, DEAD)
    assert actions == [Spawn()]
    assert life.state is State.STARTING
    assert life.reason == "it broke"


def test_the_second_death_waits():
    life, actions = live(*UP, DEAD, DEAD)
    assert life.state is State.BACKOFF
    assert actions == [StartTimer(Timer.BACKOFF, 0.1)]
    assert live(*UP, DEAD, DEAD, TimerFired(Timer.BACKOFF))[1] == [Spawn()]


def test_five_deaths_with_nothing_done_between_fail_the_replica():
    history: list[Event] = [*UP]
    for _ in range(MAX_DEATHS):
        history += [DEAD, TimerFired(Timer.BACKOFF)]
    life, _ = live(*history)
    assert life.state is State.FAILED
    assert live(*history[:-1])[1] == [StartTimer(Timer.HALF_OPEN, HALF_OPEN_SECONDS)]


def test_a_failed_replica_gets_one_try_and_fails_again_at_its_first_death():
    failed = Lifecycle(State.FAILED, MAX_DEATHS, "why")
    trying, actions = advance(failed, TimerFired(Timer.HALF_OPEN))
    assert (trying.state, actions) == (State.STARTING, [Spawn()])
    assert advance(trying, DEAD)[0].state is State.FAILED


@pytest.mark.parametrize("history", [[Start(), LoadBegan()], [Start(), DEAD, LoadBegan()]])
@pytest.mark.parametrize("counted", [True, False])
def test_a_permanent_failure_is_not_tried_again_at_once(history, counted):
    life, actions = live(*history, Died("no such device", counted=counted, permanent=True))
    assert (life.state, life.reason) == (State.FAILED, "no such device")
    assert actions == [StartTimer(Timer.HALF_OPEN, HALF_OPEN_SECONDS)]


@pytest.mark.parametrize("history", [UP, [*UP, DEAD, LoadBegan()], [*UP, RECYCLE]])
def test_what_was_ready_once_is_tried_again_whatever_the_failure(history):
    """A device that resets its driver looks like one that is absent."""
    assert live(*history, BEYOND_REPAIR)[1][-1] in (Spawn(), StartTimer(Timer.BACKOFF, 0.1))


def test_a_cause_that_was_repaired_meanwhile_is_noticed():
    repaired: list[Event] = [Start(), LoadBegan(), BEYOND_REPAIR, TimerFired(Timer.HALF_OPEN)]
    assert live(*repaired)[1] == [Spawn()]
    assert live(*repaired, LoadBegan(), BecameReady())[0].state is State.READY
    assert live(*repaired, LoadBegan(), BEYOND_REPAIR)[0].state is State.FAILED


def test_a_permanent_failure_of_a_replica_that_stops_stops_it():
    assert live(Start(), LoadBegan(), STOP, BEYOND_REPAIR)[0].state is State.STOPPED


def test_a_completed_request_forgets_earlier_deaths():
    life, _ = live(*UP, DEAD, BecameReady(), RequestCompleted())
    assert life.deaths == 0
    assert live(*UP, DEAD, BecameReady(), RequestCompleted(), DEAD)[1] == [Spawn()]


def test_being_ready_alone_does_not_forget_them():
    assert live(*UP, DEAD, BecameReady())[0].deaths == 1


def test_a_stalled_host_is_killed_not_asked():
    assert live(*UP, Stalled())[1] == [Kill()]
    assert live(Start(), LoadBegan(), Stalled())[1] == [Kill()]
    assert live(*UP, STOP, Stalled())[1] == [Kill()]


def test_a_stop_has_three_nested_budgets():
    assert live(*UP, STOP)[1] == [SendDrain(), StartTimer(Timer.DRAIN, 30)]
    assert live(*UP, STOP, TimerFired(Timer.DRAIN))[1] == [Terminate(), StartTimer(Timer.TERM, 5)]
    assert live(*UP, STOP, TimerFired(Timer.DRAIN), TimerFired(Timer.TERM))[1] == [Kill()]
    assert live(*UP, STOP, DEAD) == (
        Lifecycle(State.STOPPED, term_seconds=5, was_ready=True),
        [CancelTimer()],
    )


def test_a_loading_host_has_nothing_to_finish():
    assert live(Start(), LoadBegan(), STOP)[1] == [SendDrain(), Terminate(), StartTimer(Timer.TERM, 5)]


@pytest.mark.parametrize("history", [[*UP, DEAD, DEAD], [*UP, *[DEAD, TimerFired(Timer.BACKOFF)] * 5]])
def test_a_stop_while_no_process_runs_ends_at_once(history):
    assert live(*history, STOP)[0].state is State.STOPPED


def test_a_death_while_draining_restarts_nothing_and_a_second_stop_changes_nothing():
    assert live(*UP, STOP, DEAD)[0].state is State.STOPPED
    assert live(*UP, STOP, STOP)[1] == []


def test_a_host_that_has_grown_too_large_finishes_and_is_started_anew():
    life, actions = live(*UP, RECYCLE)
    assert actions == [SendDrain(), StartTimer(Timer.DRAIN, 30)]
    assert not life.stopping
    life, actions = live(*UP, RECYCLE, DEAD)
    assert actions == [CancelTimer(), Spawn()]
    assert life.deaths == 0


def test_a_stop_overtakes_a_recycling():
    assert live(*UP, RECYCLE, STOP)[0].stopping
    assert live(*UP, RECYCLE, STOP, DEAD)[0].state is State.STOPPED


def test_a_stop_waits_no_longer_for_a_host_that_is_recycled_than_for_others():
    patient = Recycle(drain_seconds=600, term_seconds=5)
    assert live(*UP, patient, STOP)[1] == [StartTimer(Timer.DRAIN, 30)]
    assert live(*UP, patient, STOP, STOP)[1] == []
    assert live(*UP, patient, Leave(), STOP)[1] == []  # it ends already


def test_a_host_that_is_recycled_can_be_told_to_end_once():
    life, actions = live(*UP, RECYCLE, Leave())
    assert actions == [Terminate(), StartTimer(Timer.TERM, 5)]
    assert life.recycling
    assert live(*UP, RECYCLE, Leave(), Leave())[1] == []
    assert live(*UP, RECYCLE, Leave(), DEAD)[1] == [CancelTimer(), Spawn()]
    assert live(*UP, Leave()) == (live(*UP)[0], [])
    assert live(*UP, STOP, Leave())[1] == []


def test_an_expected_death_restarts_at_once_and_counts_for_nothing():
    history: list[Event] = [*UP]
    for _ in range(2 * MAX_DEATHS):
        history += [Died("on trial", counted=False), BecameReady()]
    life, _ = live(*history)
    assert (life.state, life.deaths) == (State.READY, 0)


def test_backoff_doubles_up_to_its_limit_and_jitter_only_adds():
    delays = [backoff_seconds(deaths, 0.0) for deaths in range(1, 15)]
    assert delays[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 30.0
    assert backoff_seconds(3, 1.0) == pytest.approx(0.25)


EVENTS: list[Event] = [
    *UP,
    RequestCompleted(),
    Stalled(),
    DEAD,
    BEYOND_REPAIR,
    STOP,
    RECYCLE,
    Leave(),
    *map(TimerFired, Timer),
]


def test_the_events_here_are_all_there_are():
    assert {type(event) for event in EVENTS} == set(typing.get_args(lifecycle.Event))


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_no_history_runs_two_processes_or_leaves_a_dead_end(history):
    life, running = Lifecycle(), 0
    timer: Timer | None = None
    for event in history:
        if isinstance(event, TimerFired) and event.timer is not timer:
            continue  # a timer that was not started cannot fire
        if isinstance(event, Died | Stalled | BecameReady | LoadBegan) and not running:
            continue  # only a process can do that
        running -= isinstance(event, Died)
        if isinstance(event, TimerFired):
            timer = None
        life, actions = advance(life, event)
        for action in actions:
            running += isinstance(action, Spawn)
            if isinstance(action, StartTimer):
                timer = action.timer
            elif isinstance(action, CancelTimer):
                timer = None
        assert running == (1 if life.alive else 0)
        assert (timer is not None) or life.state not in (State.BACKOFF, State.FAILED)
