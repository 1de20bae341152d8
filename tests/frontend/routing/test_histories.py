"""Deaths as histories: what the router does, without a process."""

import asyncio
import contextlib
import signal
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.errors import (
    ClientGone,
    EngineCrashed,
    ModelUnavailable,
    Overloaded,
    QueueFull,
    RequestBlamed,
    RequestTimeout,
)
from frontend.routing.lifecycle import Phase
from frontend.routing.refusals import REFUSED_SECONDS
from frontend.supervision.lifecycle import State
from ipc import messages
from ipc.arena import Lease
from ipc.channel import ChannelError
from ipc.messages import Delta, Finish, Generate, Reply, Tokenized
from tests.frontend.routing.hosts import History, error_of, text_of


def test_every_message_of_a_host_has_a_handler():
    kinds = {get_origin(kind) or kind for kind in get_args(messages.TO_FRONTEND_TYPE)}
    assert set(History().route.arrivals.handlers) == {kind for kind in kinds if not issubclass(kind, Reply)}


def test_a_stream_goes_on_after_a_kill_from_outside_as_if_nothing_had_happened():
    history = History()
    stream = history.ask("a")
    history.accept()
    for _ in range(3):
        history.step()
    history.die(number=signal.SIGKILL)
    history.ready_again()
    (again,) = history.hosts[0].held()
    assert again.resume_token_ids == [0, 1, 2]
    history.accept()
    history.step()
    history.complete()
    assert text_of(stream) == "a0 a1 a2 a3 "
    assert error_of(stream) is None
    assert stream.usage.completion_tokens == 4
    assert stream.usage.prompt_tokens == 10


def test_after_a_kill_from_outside_another_replica_takes_over_at_once():
    history = History(replicas=2)
    history.ask("a")
    history.accept()
    history.step()
    history.die(number=signal.SIGKILL)
    assert history.holds(1) == ["a"]


def test_suspects_are_tried_one_at_a_time_and_then_join_the_others():
    history = History()
    for name in ("a", "b", "c"):
        history.ask(name)
    history.accept()
    history.step()
    history.die()
    history.ready_again()
    assert history.holds() == ["a"]
    history.accept()
    history.step()
    assert history.holds() == ["b"]
    history.accept()
    history.step()
    assert history.holds() == ["c"]
    history.accept()
    history.step()
    assert sorted(history.holds()) == ["a", "b", "c"]


def test_new_requests_wait_while_the_only_replica_tries_suspects():
    history = History()
    history.ask("a")
    history.ask("b")
    history.accept()
    history.die()
    history.ask("new")
    history.ready_again()
    assert history.holds() == ["a"]
    history.accept()
    history.step()
    assert history.holds() == ["b"]
    history.accept()
    history.step()
    assert sorted(history.holds()) == ["a", "b", "new"]


def test_other_replicas_serve_on_while_suspects_are_tried():
    history = History(replicas=2, slots=8)
    for name in ("a", "b", "c", "d"):
        history.ask(name, max_tokens=5000)
    assert (history.holds(0), history.holds(1)) == (["a", "c"], ["b", "d"])
    history.accept(0)
    history.die(0)
    history.ask("new")
    assert history.holds(1) == ["b", "d", "new"]
    history.ready_again(0)
    assert history.holds(0) == ["a"]
    history.accept(0)
    history.step(0)
    assert history.holds(0) == ["c"]
    assert history.holds(1) == ["b", "d", "new", "a"]  # cleared, it joins them


def test_an_empty_replica_is_the_room_at_once():
    history = History(replicas=2)
    history.ask("a")
    history.accept()
    history.die(0)
    assert history.holds(1) == ["a"]
    assert history.route.jobs.quarantine.room is history.route.replicas[1]


def test_with_no_host_coming_up_the_least_busy_one_is_emptied_for_the_trial():
    history = History(replicas=2)
    history.ask("a", max_tokens=100)
    history.ask("b", max_tokens=100)
    history.accept(0)
    history.die(0)
    history.become(State.FAILED, 0)
    history.ask("new")
    assert history.holds(1) == ["b"]  # nothing new comes to it
    history.complete(1)
    assert history.holds(1)[-1] == "a"


def test_the_guilty_one_is_blamed_and_the_others_complete():
    history = History()
    generations = {name: history.ask(name) for name in ("a", "bad", "c")}
    history.accept()
    history.step()
    history.die()
    history.ready_again()
    history.accept()
    history.step()  # a passes
    assert history.holds() == ["bad"]
    for _ in range(2):
        assert not history.die()  # while it is tried alone, deaths do not count against the replica
        history.ready_again()
    error = error_of(generations["bad"])
    assert isinstance(error, EngineCrashed)
    assert "SIGSEGV" in error.message
    history.accept()
    history.step()
    history.complete()
    for name in ("a", "c"):
        assert error_of(generations[name]) is None
        assert generations[name].sequences[0].state.phase is Phase.ENDED


def test_a_blamed_request_is_refused_at_once_and_again_allowed_later():
    history = History()
    for _ in range(1):
        history.ask("bad")
        history.accept()
        history.die()
        history.ready_again()
        history.die()
        history.ready_again()
    with pytest.raises(RequestBlamed, match="SIGSEGV"):
        history.ask("bad", seed=5)  # another seed makes it no other request
    history.ask("other")
    history.now += REFUSED_SECONDS
    history.ask("bad")


def test_a_hang_counts_as_the_requests_own():
    history = History()
    request = history.ask("bad")
    history.accept()
    for _ in range(2):
        history.die(number=signal.SIGKILL, stalled=True)
        history.ready_again()
    assert isinstance(error_of(request), EngineCrashed)


def test_deaths_of_starved_hosts_end_without_blame():
    history = History()
    request = history.ask("slow")
    history.accept()
    for _ in range(5):
        history.die(number=signal.SIGKILL, stalled=True, starved=True)
        history.ready_again()
    assert isinstance(error_of(request), Overloaded)
    history.ask("slow")  # and it is not refused


def test_starved_deaths_do_not_hide_one_that_repeats_with_the_cpu():
    history = History()
    request = history.ask("bad")
    history.accept()
    for starved in (True, False, True, False):
        history.die(number=signal.SIGKILL, stalled=True, starved=starved)
        history.ready_again()
    assert isinstance(error_of(request), EngineCrashed)


def test_kills_from_outside_during_quarantine_condemn_nobody():
    history = History()
    request = history.ask("a")
    history.accept()
    history.die()
    for _ in range(20):
        history.ready_again()
        assert history.holds() == ["a"]
        history.accept()
        history.die(number=signal.SIGKILL)
    history.ready_again()
    history.accept()
    history.step()
    history.complete()
    assert error_of(request) is None


def test_a_death_before_accepted_sends_the_request_again_whole():
    history = History()
    request = history.ask("a")
    history.die(number=signal.SIGKILL)
    history.ready_again()
    assert [m.resume_token_ids for m in history.hosts[0].held()] == [[]]
    history.accept()
    history.step()
    assert text_of(request) == "a0 "


def test_a_step_and_a_completion_that_name_a_dead_hosts_request_are_dropped():
    history = History()
    request = history.ask("a")
    history.accept()
    (before,) = history.route.replicas[0].jobs
    history.die(number=signal.SIGKILL)
    history.ready_again()
    history.say(0, Delta(before, [0], "late"), Delta(before, [1], "", Finish("stop")))
    assert text_of(request) == ""
    assert request.sequences[0].state.phase is Phase.SENT


def test_a_completion_read_after_the_death_was_noticed_counts():
    history = History()
    request = history.ask("a")
    history.accept()
    history.step()
    history.complete()  # drained from the socket, then the death is told
    history.die()
    history.ready_again()
    assert history.holds() == []
    assert request.sequences[0].state.phase is Phase.ENDED


def test_a_client_that_leaves_while_its_request_is_a_suspect_is_forgotten():
    history = History()
    waiting, tried = history.ask("a"), history.ask("b")
    history.accept()
    history.die()
    waiting.cancel(ClientGone())
    history.ready_again()
    assert history.holds() == ["b"]
    tried.cancel(ClientGone())
    assert history.holds() == []
    history.ask("c")
    assert history.holds() == ["c"]


def test_a_timeout_while_requeued_ends_the_request_and_nothing_is_sent():
    history = History()
    request = history.ask("a")
    history.accept()
    history.die(number=signal.SIGKILL)
    request.cancel(RequestTimeout("too long"))
    history.ready_again()
    assert history.holds() == []
    assert isinstance(error_of(request), RequestTimeout)


def test_the_order_of_arrival_is_kept():
    history = History(slots=2)
    for name in ("a", "b", "c", "d"):
        history.ask(name)
    assert history.holds() == ["a", "b"]
    history.die(number=signal.SIGKILL)
    history.ready_again()
    assert history.holds() == ["a", "b"]
    history.complete()
    assert history.holds()[2:] == ["c", "d"]


def test_recovery_takes_no_place_in_the_queue_from_those_who_wait():
    history = History(slots=2, max_queue=2)
    for name in ("a", "b", "c", "d"):
        history.ask(name)
    with pytest.raises(QueueFull):
        history.ask("e")
    history.die(number=signal.SIGKILL)
    assert len(history.route.jobs.queue.waiting) == 4
    history.ready_again()
    assert history.holds() == ["a", "b"]


def test_both_replicas_dying_at_once_loses_nothing():
    history = History(replicas=2)
    streams = [history.ask(name) for name in ("a", "b")]
    for host in (0, 1):
        history.accept(host)
        history.step(host)
    for host in (0, 1):
        history.die(host, number=signal.SIGKILL)
    for host in (1, 0):
        history.ready_again(host)
    for host in (0, 1):
        history.accept(host)
        history.step(host)
        history.complete(host)
    assert [text_of(stream) for stream in streams] == ["a0 a1 ", "b0 b1 "]


def test_a_replica_that_joins_meanwhile_takes_what_waits():
    history = History()
    history.ask("a")
    history.accept()
    history.die(number=signal.SIGKILL)
    history.add_replica()
    history.ready_again(1)
    assert history.holds(1) == ["a"]


def test_when_the_last_replica_fails_everybody_is_told_why():
    history = History()
    stream = history.ask("a")
    history.accept()
    history.die()
    history.become(State.FAILED)
    assert isinstance(error_of(stream), ModelUnavailable)
    with pytest.raises(ModelUnavailable, match="it died"):
        history.ask("b")


def test_each_choice_recovers_on_its_own():
    history = History()
    request = history.ask("a", streaming=False, choices=2)
    history.accept()
    history.step()
    first = next(iter(history.route.replicas[0].jobs))
    history.say(0, Delta(first, [], "", Finish("stop")))
    history.die(number=signal.SIGKILL)
    history.ready_again()
    assert [m.resume_token_ids for m in history.hosts[0].held()] == [[0]]
    history.accept()
    history.complete()
    assert error_of(request) is None
    assert request.usage.completion_tokens == 2


def test_a_choice_does_not_outlive_one_that_is_given_up():
    history = History()
    request = history.ask("a", choices=2, temperature=1.0, presence_penalty=1.0)
    history.accept()
    first = next(iter(history.route.replicas[0].jobs))
    history.say(0, Delta(first, [5], "seen"))
    history.die(number=signal.SIGKILL)
    history.ready_again()
    assert isinstance(error_of(request), EngineCrashed)
    assert history.holds() == []
    assert not history.route.jobs.queue.waiting


def test_an_answer_by_chance_with_penalties_is_started_over_where_nobody_has_seen_it():
    history = History()
    request = history.ask("a", streaming=False, temperature=1.0, presence_penalty=1.0)
    history.accept()
    history.step()
    history.step()
    history.die(number=signal.SIGKILL)
    history.ready_again()
    assert [m.resume_token_ids for m in history.hosts[0].held()] == [[]]
    history.accept()
    history.step()
    assert text_of(request) == "a0 "
    assert request.usage.completion_tokens == 1


def test_and_where_its_client_has_seen_it_the_error_says_what_happened():
    history = History()
    request = history.ask("a", streaming=True, temperature=1.0, presence_penalty=1.0)
    history.accept()
    history.step()
    history.die(number=signal.SIGKILL)
    error = error_of(request)
    assert isinstance(error, EngineCrashed)
    assert "SIGKILL" in error.message


def test_a_token_outside_the_vocabulary_is_a_breach_of_the_protocol():
    history = History()
    history.ask("a")
    (request_id,) = history.route.replicas[0].jobs
    with pytest.raises(ChannelError, match="vocabulary"):
        history.say(0, Delta(request_id, [1000], ""))


def test_a_prompt_that_finds_no_room_in_shared_memory_waits_and_then_gives_up():
    history = History()
    request = history.ask("x" * 70_000)
    assert not any(isinstance(m, Generate) for m in history.hosts[0].sent)
    ((_, give_up),) = history.timers
    give_up()
    assert isinstance(error_of(request), Overloaded)


def test_a_wait_for_room_that_ended_is_not_held_against_a_request_that_a_death_returned():
    history = History()
    request = history.ask("x" * 70_000)
    history.hosts[0].room = Lease(0, 1, 0, 70_010)
    history.route.pump()
    history.die(number=signal.SIGKILL)
    ((_, give_up),) = history.timers
    give_up()
    history.ready_again()
    assert len(history.hosts[0].held()) == 1
    assert error_of(request) is None


EVENTS = st.sampled_from(
    [
        "ask",
        "accept",
        "step",
        "complete",
        "SIGKILL",
        "SIGSEGV",
        "stall",
        "fail",
        "ready",
        "leave",
        "penalties",
    ]
)


def play(history: History, asked: list, event: str, number: int) -> None:
    host = number % len(history.hosts)
    state = history.hosts[host].life.state
    alive = history.hosts[host].ready
    if event in ("ask", "penalties") and len(asked) < 20:
        chance: Any = {"temperature": 1.0, "presence_penalty": 1.0} if event == "penalties" else {}
        with contextlib.suppress(ModelUnavailable, RequestBlamed):
            asked.append(history.ask(f"r{len(asked)}", streaming=bool(number % 2), **chance))
    elif event in ("accept", "step", "complete") and alive:
        getattr(history, event)(host)
    elif event == "leave" and asked:
        asked[number % len(asked)].cancel(ClientGone())
    elif event == "ready" and not alive:
        history.ready_again(host)
    elif event == "fail" and state is State.STARTING:
        history.become(State.FAILED, host)
    elif event in ("SIGKILL", "SIGSEGV", "stall") and alive:
        history.die(host, signal.SIGSEGV if event == "SIGSEGV" else signal.SIGKILL, stalled=event == "stall")


@given(st.lists(st.tuples(EVENTS, st.integers(0, 100)), max_size=60), st.integers(1, 3))
def test_no_history_of_deaths_loses_a_request(events, replicas):
    history = History(replicas=replicas, slots=2)
    asked: list = []
    for event, number in events:
        play(history, asked, event, number)
    rounds = 3 * len(asked) + 3
    for round_number in range(2 * rounds):  # from here on nothing dies
        for host in range(replicas):
            if not history.hosts[host].ready:
                history.ready_again(host)
            history.accept(host)
            history.step(host)
        for host in range(replicas):
            # Suspects that cannot make room for others do so with their end.
            if round_number >= rounds or not history.route.jobs.quarantine.waiting:
                history.complete(host)
    assert history.route.jobs.queue.waiting == history.route.jobs.quarantine.waiting == []
    assert history.route.jobs.quarantine.tried is None
    for request in asked:
        assert all(sequence.state.phase is Phase.ENDED for sequence in request.sequences)
        if error_of(request) is None:
            tokens = request.sequences[0].journal.token_ids
            assert tokens == list(range(len(tokens)))  # none lost, none doubled
            prompt = request.sequences[0].spec.prompt
            assert text_of(request) == "".join(f"{prompt.text}{token} " for token in tokens)


def test_the_time_from_a_death_to_the_next_ready_host_is_measured():
    history = History()
    history.die()
    history.now += 3
    history.ready_again()
    history.ready_again()  # not after a death
    assert measured(history) == (1, 3.0)


def measured(history: History) -> tuple[float, float]:
    """How many host recoveries, and their seconds together."""
    family = next(iter(history.metrics.host_recovery_seconds.collect()))
    by_name = {sample.name.rpartition("_")[2]: sample.value for sample in family.samples}
    return by_name["count"], by_name["sum"]


def test_log_probabilities_that_are_not_as_many_as_tokens_break_the_protocol():
    history = History()
    history.ask("a")
    history.accept()
    (request_id,) = history.route.replicas[0].jobs
    with pytest.raises(ChannelError, match="log probabilities"):
        history.say(0, Delta(request_id, [1, 2], "a", None, [-0.5], [b"a"]))


def test_an_answer_of_another_kind_breaks_the_protocol():
    history = History()
    history.ask("a")
    (request_id,) = history.route.replicas[0].jobs
    with pytest.raises(ChannelError, match="Tokenized is not an answer to Generate"):
        history.say(0, Tokenized(request_id, [1], "a", ["a"]))


def test_what_came_before_a_breach_of_the_protocol_is_delivered():
    async def scenario() -> None:
        history = History()
        whole = history.ask("a", streaming=False)
        history.ask("b")
        first, second = history.route.replicas[0].jobs
        reader = asyncio.create_task(whole.outputs())
        await asyncio.sleep(0)
        with pytest.raises(ChannelError):
            history.say(0, Delta(first, [1], "a", Finish("stop")), Delta(second, [1000], ""))
        assert [output.finish_reason for output in await reader] == ["stop"]

    asyncio.run(scenario())


def test_a_suspect_that_cannot_be_continued_makes_no_room_for_the_others():
    history = History()
    chance = history.ask("a", temperature=1.0, presence_penalty=1.0)
    history.ask("b")
    history.accept()
    history.die()
    history.ready_again()
    history.accept()
    assert history.holds() == ["a"]
    history.step()
    assert history.holds() == ["a"]  # its next tokens depend on chance that only this host knows
    history.complete()
    assert error_of(chance) is None
    assert history.holds()[-1] == "b"


def test_a_second_wait_for_room_has_its_whole_time():
    history = History()
    request = history.ask("x" * 70_000)
    history.hosts[0].room = Lease(0, 1, 0, 70_010)
    history.route.pump()
    history.hosts[0].room = None
    history.die(number=signal.SIGKILL)
    history.ready_again()
    (_, first), (_, second) = history.timers
    first()
    assert error_of(request) is None
    second()
    assert isinstance(error_of(request), Overloaded)


def test_a_finish_without_an_acceptance_keeps_nobody_waiting():
    async def scenario() -> None:
        history = History()
        request = history.ask("a")
        history.complete()
        await request.accepted()

    asyncio.run(scenario())
