"""Whose turn it is, as a pure structure and through the route of a model."""

import itertools
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.caller import Caller
from frontend.errors import QueueFull
from frontend.routing.fair import BATCH_PATIENCE, PATIENCE, FairQueue
from frontend.tasks.generation import Generation
from frontend.tasks.text import SequenceSpec
from ipc.messages import Sampling, TextPrompt
from tests.frontend.routing.hosts import History


class Item(msgspec.Struct, eq=False):
    caller: Caller
    arrived_at: float
    cost: int = 100


class Line:
    """A queue, with the work that it is given in order of arrival."""

    def __init__(self) -> None:
        self.queue: FairQueue[Item] = FairQueue()
        self._time = itertools.count(1)

    def add(self, key: str, count: int = 1, cost: int = 100, weight: float = 1.0, is_batch: bool = False):
        caller = Caller(key_id=key, weight=weight, is_batch=is_batch)
        items = [Item(caller, next(self._time), cost) for _ in range(count)]
        for item in items:
            self.queue.add(item)
        return items

    def serve(self, may_be_batch: bool = True) -> Item:
        job = self.queue.first(may_be_batch=may_be_batch)
        assert job is not None
        self.queue.serve(job)
        return job

    def served(self, count: int) -> list[str | None]:
        return [self.serve().caller.key_id for _ in range(count)]


@pytest.mark.parametrize("before", [0, 1, 2, 50])
def test_two_hundred_waiting_requests_delay_nobody_elses_first(before):
    line = Line()
    line.add("heavy", 200)
    line.served(before)
    line.add("light")
    assert "light" in line.served(2)


def test_a_request_of_very_many_choices_starves_nobody():
    line = Line()
    many = Caller(key_id="many")
    for _ in range(1000):
        line.queue.add(Item(many, 0.0))  # of one request
    line.served(1)
    line.add("light")
    assert "light" in line.served(PATIENCE + 5)


def test_callers_take_turns_by_cost_and_weight():
    line = Line()
    line.add("cheap", 100, cost=10)
    line.add("dear", 100, cost=90)
    assert Counter(line.served(60))["dear"] in (6, 7)

    line = Line()
    line.add("once", 100)
    line.add("thrice", 100, weight=3)
    assert Counter(line.served(80))["thrice"] in range(59, 62)


def test_what_a_job_really_took_replaces_its_estimate():
    line = Line()
    line.add("careful", 50, cost=100)
    line.add("generous", 50, cost=10_000)
    first = [line.serve() for _ in range(2)]
    for item in first:
        line.queue.correct(item, 100)
    counts: Counter[str | None] = Counter()
    for _ in range(20):
        item = line.serve()
        counts[item.caller.key_id] += 1
        line.queue.correct(item, 100)
    assert counts["generous"] in (9, 10, 11)


def test_interactive_work_goes_first_and_batch_work_gets_on():
    line = Line()
    line.add("night", 3, is_batch=True)
    line.add("day", 200)
    kinds = line.served(3 * (BATCH_PATIENCE + 1))
    assert [index for index, key in enumerate(kinds) if key == "night"] == [
        BATCH_PATIENCE,
        2 * BATCH_PATIENCE + 1,
        3 * BATCH_PATIENCE + 2,
    ]


def test_batch_work_that_may_not_run_holds_up_nobody():
    line = Line()
    line.add("night", 1, is_batch=True)
    assert line.queue.first(may_be_batch=False) is None
    line.add("day", 40)
    assert {line.serve(may_be_batch=False).caller.key_id for _ in range(40)} == {"day"}
    assert line.serve().caller.key_id == "night"


def test_a_heavy_caller_gets_on_although_new_callers_keep_coming():
    line = Line()
    line.add("heavy", 2, cost=10**9)
    line.served(1)
    for turn in range(PATIENCE + 10):
        line.add(f"new{turn}")
        if line.served(1) == ["heavy"]:
            return
    pytest.fail("starved")


def test_what_lost_its_host_goes_first_in_order_of_arrival():
    line = Line()
    items = line.add("a", 3)
    sent = [line.serve(), line.serve()]
    line.add("b", 3)
    for item in reversed(sent):
        line.queue.add(item, returned=True)
    assert [line.serve() for _ in range(2)] == items[:2]


def test_callers_that_came_once_are_forgotten():
    line = Line()
    line.add("waits", 1, cost=100)
    for number in range(5000):
        line.add(f"subject{number}")
        line.serve()
    known = line.queue.interactive
    assert len(known._callers) < 2000
    assert len(known._heap) < 2000


CALLERS = [Caller(key_id=key, weight=weight) for key, weight in (("a", 1.0), ("b", 2.0), ("c", 0.5))]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 5), st.integers(1, 500)),  # a caller's job, of that cost
        st.just("serve"),
        st.just("return"),
        st.just("remove"),
        st.just("correct"),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(EVENTS, st.randoms(use_true_random=False))
def test_nothing_is_lost_and_callers_keep_their_order(events, random):
    queue: FairQueue[Item] = FairQueue()
    waiting: list[Item] = []
    served: list[Item] = []
    returned: set[int] = set()
    for time, event in enumerate(events):
        if isinstance(event, tuple):
            caller = msgspec.structs.replace(CALLERS[event[0] % 3], is_batch=event[0] > 2)
            waiting.append(Item(caller, float(time), event[1]))
            queue.add(waiting[-1])
        elif event == "serve":
            job = queue.first()
            assert (job is None) == (not waiting), "work conserving"
            if job is not None:
                queue.serve(job)
                waiting.remove(job)
                mine = [w for w in waiting if w.caller == job.caller and id(w) not in returned]
                if id(job) not in returned:
                    assert all(other.arrived_at > job.arrived_at for other in mine)
                served.append(job)
        elif event == "remove" and waiting:
            job = waiting.pop(random.randrange(len(waiting)))
            assert queue.remove(job)
            assert not queue.remove(job)
        elif event == "correct" and served:
            queue.correct(served[-1], random.randrange(1, 1000))
        elif event == "return" and served:
            job = served.pop()
            returned.add(id(job))
            queue.add(job, returned=True)
            waiting.append(job)
        assert len(queue) == len(waiting)
        assert set(map(id, queue)) == set(map(id, waiting))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=40, max_size=80))
def test_busy_callers_get_tokens_by_weight(jobs):
    """As long as two callers wait all the time, their service by weight differs by at most a job of each."""
    queue: FairQueue[Item] = FairQueue()
    for time, (which, cost) in enumerate(jobs):
        queue.add(Item(CALLERS[which], float(time), cost))
    left = Counter(CALLERS[which].key_id for which, _ in jobs)
    got: dict[str | None, float] = dict.fromkeys((caller.key_id for caller in CALLERS), 0.0)
    while all(left[caller.key_id] for caller in CALLERS):
        job = queue.first()
        assert job is not None
        queue.serve(job)
        left[job.caller.key_id] -= 1
        got[job.caller.key_id] += job.cost / job.caller.weight
        for one, other in itertools.combinations(CALLERS, 2):
            allowed = 400 / one.weight + 400 / other.weight
            assert abs(got[one.key_id] - got[other.key_id]) <= allowed


# --- through a route ---------------------------------------------------------------------------------


def ask(history: History, name: str, caller: Caller, choices: int = 1) -> Generation:
    history.now += 1
    specs = [SequenceSpec(TextPrompt(name), Sampling(temperature=0.0)) for _ in range(choices)]
    generation = Generation(specs, history.now, history.route.drop)
    for job in generation.sequences:
        job.caller = caller
    history.route.submit(generation.sequences)
    return generation


HEAVY, LIGHT = Caller(key_id="heavy"), Caller(key_id="light")
NIGHT = Caller(key_id="heavy", is_batch=True)


def test_a_light_callers_request_is_sent_next():
    history = History(slots=1)
    for number in range(50):
        ask(history, f"heavy{number}", HEAVY)
    history.complete()
    ask(history, "light", LIGHT)
    history.complete()
    assert history.holds()[-1] == "light"


def test_choices_of_one_request_go_together():
    history = History(slots=1)
    ask(history, "first", HEAVY)
    ask(history, "three", HEAVY, choices=3)
    ask(history, "light", LIGHT)
    for _ in range(4):
        history.complete()
    assert history.holds() == ["first", "light", "three", "three", "three"]

    history = History(slots=1)
    ask(history, "three", LIGHT, choices=3)
    ask(history, "two", HEAVY, choices=2)
    for _ in range(4):
        history.complete()
    assert history.holds() == ["three"] * 3 + ["two"] * 2


def test_a_dead_hosts_jobs_go_before_a_light_callers():
    history = History(slots=2)
    for number in range(4):
        ask(history, f"heavy{number}", HEAVY)
    ask(history, "light", LIGHT)
    history.die(number=9)
    history.ready_again()
    assert history.holds() == ["heavy0", "heavy1"]


def test_batch_jobs_leave_a_slot_for_others():
    history = History(slots=3)
    for number in range(5):
        ask(history, f"night{number}", NIGHT)
    assert history.holds() == ["night0", "night1"]
    ask(history, "day", HEAVY)
    assert history.holds() == ["night0", "night1", "day"]
    alone = History(slots=1)
    ask(alone, "night", NIGHT)
    assert alone.holds() == ["night"]


def test_a_full_queue_keeps_nobody_out_who_has_less_than_a_share():
    history = History(slots=1, max_queue=4)
    for number in range(5):
        ask(history, f"heavy{number}", HEAVY)
    with pytest.raises(QueueFull):
        ask(history, "heavy5", HEAVY)
    for number in range(2):
        ask(history, f"light{number}", LIGHT)
    with pytest.raises(QueueFull):
        ask(history, "light2", LIGHT)
    for number in range(1000):
        with_others = Caller(key_id=f"other{number}")
        try:
            ask(history, "other", with_others)
        except QueueFull:
            break
    assert len(history.route.jobs.queue) <= 2 * 4 + 1


def test_the_wait_in_the_queue_is_measured_by_class():
    history = History(slots=1)
    ask(history, "day", HEAVY)
    ask(history, "night", NIGHT)
    history.now += 7
    history.complete()
    assert history.metrics.queue_wait("batch")._sum.get() == 7.0
    assert history.metrics.queue_wait("interactive")._sum.get() == 0.0
