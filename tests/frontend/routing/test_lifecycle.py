"""The life of a job: every event in every phase, without a process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.routing.jobs import Jobs
from frontend.routing.lifecycle import (
    Action,
    AwaitTrial,
    Dequeue,
    Dispatched,
    Dropped,
    Ended,
    EndTrial,
    Enqueue,
    Event,
    HostDied,
    JobState,
    Phase,
    Recall,
    Replied,
    Submitted,
    advance,
)
from frontend.routing.recovery import (
    Blame,
    Continue,
    Crash,
    GiveUp,
    Progress,
    StartOver,
    Suspicion,
    Undecided,
)
from ipc.continuation import Continuation
from tests.frontend.routing.hosts import History

CRASH = Crash(implicates=True, alone=False)
ALONE = Crash(implicates=True, alone=True)
FROM_OUTSIDE = Crash(implicates=False, alone=True)


def live(*events: Event, state: JobState | None = None) -> tuple[JobState, list[Action]]:
    """The state after the events, and the actions of the last."""
    state, actions = state or JobState(), list[Action]()
    for event in events:
        state, actions = advance(state, event)
    return state, actions


def died(crash: Crash = CRASH, point: int = 0, **progress: object) -> HostDied:
    return HostDied(crash, Progress(point, **progress))  # type: ignore[arg-type]


def test_every_action_has_a_performer():
    kinds = {
        Enqueue,
        AwaitTrial,
        Dequeue,
        Recall,
        EndTrial,
        Continue,
        StartOver,
        Blame,
        Undecided,
        GiveUp,
    }
    assert set(History().route.jobs.performers) == kinds
    assert isinstance(History().route.jobs, Jobs)


def test_a_job_that_all_goes_well_with():
    state, actions = live(Submitted())
    assert (state.phase, actions) == (Phase.QUEUED, [Enqueue()])
    state, actions = live(Dispatched(), state=state)
    assert (state.phase, actions) == (Phase.SENT, [Dequeue()])
    state, actions = live(Replied(1), state=state)
    assert (state.phase, actions) == (Phase.RUNNING, [])
    state, actions = live(Ended(), state=state)
    assert (state.phase, actions) == (Phase.ENDED, [])


@pytest.mark.parametrize(
    ("before", "phase", "actions"),
    [
        ([Submitted()], Phase.ENDED, [Dequeue()]),
        ([Submitted(), Dispatched()], Phase.ENDED, [Recall()]),
        ([Submitted(), Dispatched(), Replied(1)], Phase.ENDED, [Recall()]),
        ([Submitted(), Dispatched(), died()], Phase.ENDED, [Dequeue()]),
        ([Submitted(), Dispatched(), died(), Dispatched(True)], Phase.ENDED, [EndTrial(), Recall()]),
    ],
)
def test_a_job_that_nobody_waits_for_is_forgotten_wherever_it_is(before, phase, actions):
    state, performed = live(*before, Dropped())
    assert (state.phase, performed) == (phase, actions)


def test_what_a_host_cannot_stop_is_abandoned_until_its_end():
    state, actions = live(Submitted(), Dispatched(), Dropped(cancellable=False))
    assert (state.phase, actions) == (Phase.ABANDONED, [])
    assert live(Replied(3), state=state) == (state, [])
    assert live(Ended(), state=state)[0].phase is Phase.ENDED
    ended, actions = live(died(), state=state)
    assert (ended.phase, actions) == (Phase.ENDED, [])  # nobody wants it done again


def test_a_job_in_flight_at_a_crash_waits_for_a_trial():
    state, actions = live(Submitted(), Dispatched(), Replied(4), died(point=4))
    assert (state.phase, state.deaths) == (Phase.SUSPECT, 1)
    assert actions == [Continue(Suspicion(point=4)), AwaitTrial()]


def test_a_kill_from_outside_sends_it_back_to_its_place():
    state, actions = live(Submitted(), Dispatched(), Replied(4), died(FROM_OUTSIDE, 4))
    assert state.phase is Phase.QUEUED
    assert actions == [Continue(Suspicion()), Enqueue()]


def test_a_suspect_that_passes_its_point_joins_the_others():
    on_trial, _ = live(Submitted(), Dispatched(), died(point=4), Dispatched(on_trial=True))
    assert live(Replied(4), state=on_trial)[0].on_trial
    state, actions = live(Replied(5), state=on_trial)
    assert (state, actions) == (JobState(Phase.RUNNING, deaths=1), [EndTrial()])


def test_or_makes_room_for_the_next_suspect():
    on_trial, _ = live(Submitted(), Dispatched(), died(point=4), Dispatched(on_trial=True))
    state, actions = live(Replied(5, others_wait=True), state=on_trial)
    assert state == JobState(Phase.QUEUED, deaths=1)
    assert actions == [EndTrial(), Recall(), Enqueue()]


def test_a_job_without_partial_results_is_cleared_by_its_end():
    on_trial, _ = live(Submitted(), Dispatched(), died(), Dispatched(on_trial=True))
    assert live(Replied(0), state=on_trial)[0].on_trial
    assert live(Ended(), state=on_trial)[1] == [EndTrial()]


def test_a_job_that_kills_its_host_twice_alone_is_blamed():
    state, actions = live(Submitted(), Dispatched(), died(ALONE), Dispatched(on_trial=True), died(ALONE))
    assert (state.phase, actions) == (Phase.ENDED, [EndTrial(), Blame()])


@pytest.mark.parametrize(
    ("progress", "verdict"),
    [
        ({"continuation": Continuation.NONE, "visible": True}, GiveUp),
        ({"continuation": Continuation.NONE}, StartOver),
        ({"continuation": Continuation.BY_REPLAY, "visible": True}, Continue),
    ],
)
def test_each_kind_of_work_says_how_it_continues(progress, verdict):
    state, actions = live(Submitted(), Dispatched(), died(CRASH, 3, **progress))
    assert isinstance(actions[0], verdict)
    assert (state.phase is Phase.ENDED) == (verdict is GiveUp)


EVENTS: list[Event] = [
    Submitted(),
    Dispatched(),
    Dispatched(on_trial=True),
    Replied(0),
    Replied(7),
    Replied(7, others_wait=True),
    Ended(),
    Dropped(),
    Dropped(cancellable=False),
    died(),
    died(ALONE, 3),
    died(FROM_OUTSIDE, 3),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_an_ended_job_stays_ended_and_a_trial_is_ended_once(events):
    state, open_trials = JobState(), 0
    for event in events:
        if isinstance(event, Dispatched) and state.phase not in (Phase.QUEUED, Phase.SUSPECT):
            continue  # only what waits is dispatched
        before, (state, actions) = state, advance(state, event)
        open_trials += isinstance(event, Dispatched) and event.on_trial and before.phase is not Phase.ENDED
        open_trials -= actions.count(EndTrial())
        assert open_trials == state.on_trial
        if before.phase is Phase.ENDED:
            assert (state, actions) == (before, [])
