"""What becomes of a job whose host died, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.routing.recovery import (
    Blame,
    Continue,
    Crash,
    GiveUp,
    Progress,
    StartOver,
    Suspicion,
    Undecided,
    after_death,
    can_move,
)
from frontend.tasks.text import continuation_of
from ipc.continuation import Continuation
from ipc.messages import Sampling

CRASH = Crash(implicates=True, alone=False)
ALONE = Crash(implicates=True, alone=True)
STARVED = Crash(implicates=True, alone=True, conclusive=False)
FROM_OUTSIDE = Crash(implicates=False, alone=True)
GREEDY = Sampling(temperature=0.0)
PENALTIES_BY_CHANCE = Sampling(temperature=1.0, presence_penalty=0.5)


def text(tokens: int, sampling: Sampling = GREEDY, streaming: bool = True) -> Progress:
    return Progress(tokens, continuation_of(sampling), streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_what_has_no_output_yet_is_sent_whole(streaming):
    for sampling in (GREEDY, PENALTIES_BY_CHANCE, Sampling(seed=3)):
        verdict = after_death(text(0, sampling, streaming=streaming), Suspicion(), CRASH)
        assert verdict == Continue(Suspicion(point=0))


def test_a_text_goes_on_where_it_stopped():
    assert after_death(text(5), Suspicion(), CRASH) == Continue(Suspicion(point=5))


def test_a_seeded_stream_is_generated_again_and_compared():
    verdict = after_death(text(5, Sampling(seed=1)), Suspicion(), CRASH)
    assert verdict == Continue(Suspicion(point=5), by_replay=True)


def test_a_text_under_a_grammar_is_generated_again_from_its_beginning():
    verdict = after_death(text(5, Sampling(temperature=0.0, grammar="{}")), Suspicion(), CRASH)
    assert verdict == Continue(Suspicion(point=5), by_replay=True)
    by_chance = Sampling(temperature=1.0, grammar="{}")
    assert isinstance(after_death(text(5, by_chance), Suspicion(), CRASH), GiveUp)


def test_a_greedy_answer_about_images_is_generated_again_and_others_go_on_from_their_text():
    for sampling, continuation in (
        (GREEDY, Continuation.BY_REPLAY),
        (Sampling(temperature=1.0), Continuation.BY_TEXT),
        (Sampling(temperature=1.0, seed=1), Continuation.BY_REPLAY),
        (PENALTIES_BY_CHANCE, Continuation.NONE),
    ):
        assert continuation_of(sampling, images=True) is continuation


def test_what_cannot_come_again_is_started_over_unless_its_client_has_seen_it():
    assert isinstance(
        after_death(text(5, PENALTIES_BY_CHANCE, streaming=False), Suspicion(), CRASH), StartOver
    )
    assert isinstance(after_death(text(5, PENALTIES_BY_CHANCE), Suspicion(), CRASH), GiveUp)


def test_a_kill_from_outside_makes_nobody_a_suspect():
    assert after_death(text(5), Suspicion(), FROM_OUTSIDE) == Continue(Suspicion())


def test_a_kill_from_outside_does_not_clear_a_suspect_either():
    held = Suspicion(point=5, alone_at=(5,))
    assert after_death(text(5), held, FROM_OUTSIDE) == Continue(held)


def deaths(*crashes: tuple[int, Crash]) -> list[type]:
    """The verdicts of a history of deaths, each after so many tokens."""
    suspicion, verdicts = Suspicion(), []
    for tokens, crash in crashes:
        verdict = after_death(text(tokens), suspicion, crash)
        verdicts.append(type(verdict))
        if isinstance(verdict, Blame | Undecided):
            break
        assert isinstance(verdict, Continue)
        suspicion = verdict.suspicion
    return verdicts


def test_two_deaths_alone_at_one_point_are_blamed():
    assert deaths((7, CRASH), (7, ALONE), (7, ALONE)) == [Continue, Continue, Blame]
    assert deaths((0, ALONE), (0, ALONE)) == [Continue, Blame]


def test_deaths_in_company_are_never_blamed():
    assert Blame not in deaths(*[(7, CRASH)] * 20)


def test_three_deaths_alone_without_a_new_token_are_blamed_wherever_they_were_seen():
    assert deaths((9, ALONE), (8, ALONE), (7, ALONE)) == [Continue, Continue, Blame]


def test_who_gets_further_each_time_is_not_blamed():
    assert Blame not in deaths(*[(tokens, ALONE) for tokens in range(10)])


def test_deaths_of_starved_hosts_prove_nothing():
    assert deaths(*[(7, STARVED)] * 10) == [Continue] * 4 + [Undecided]
    assert deaths((7, STARVED), (7, ALONE), (7, STARVED), (7, ALONE))[-1] is Blame


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([STARVED, FROM_OUTSIDE, CRASH])), max_size=30))
def test_only_deaths_alone_of_hosts_that_had_the_cpu_are_blamed(history):
    assert Blame not in deaths(*history)


@given(st.lists(st.integers(0, 50), max_size=20))
def test_kills_from_outside_condemn_nobody(points):
    assert Blame not in deaths(*[(tokens, FROM_OUTSIDE) for tokens in points])


@given(st.integers(0, 100), st.booleans())
def test_a_fault_at_one_token_is_blamed_after_at_most_three_deaths(point, alone_from_the_start):
    first = ALONE if alone_from_the_start else CRASH
    verdicts = deaths((point, first), (point, ALONE), (point, ALONE))
    assert verdicts[-1] is Blame


def test_a_suspect_passes_with_the_first_token_beyond_its_point():
    suspicion = Suspicion(point=5)
    assert not suspicion.passed_by(5)
    assert suspicion.passed_by(6)
    assert not Suspicion().passed_by(6)


@pytest.mark.parametrize("continuation", Continuation)
@pytest.mark.parametrize("visible", [True, False])
def test_a_host_that_is_replaced_ends_early_only_for_what_is_certain_to_go_on(continuation, visible):
    progress = Progress(5, continuation, visible)
    assert can_move(progress) is (continuation is Continuation.BY_TEXT or not visible)
    if can_move(progress):
        crash = Crash(implicates=False, alone=False)
        assert isinstance(after_death(progress, Suspicion(), crash), Continue | StartOver)
