"""Who is blamed for a failed step."""

from hypothesis import given
from hypothesis import strategies as st

from host.recovery import Plan, Standing, plan_recovery


def old(request_id: int, settled: bool = True) -> Standing:
    return Standing(request_id, proven=True, settled=settled)


def new(request_id: int) -> Standing:
    return Standing(request_id, proven=False, settled=False)


def test_a_lone_newcomer_is_guilty_and_the_others_go_on() -> None:
    assert plan_recovery([old(1), new(2), old(3)]) == Plan(fail=(2,), readd=(1, 3))


def test_several_newcomers_are_tried_one_by_one() -> None:
    assert plan_recovery([old(1), new(2), new(3)]) == Plan(readd=(1,), probation=(2, 3))


def test_without_a_newcomer_all_are_tried_once_more() -> None:
    assert plan_recovery([old(1), old(2)]) == Plan(readd=(1, 2))


def test_a_second_failure_before_all_went_on_is_final() -> None:
    assert plan_recovery([old(1), old(2, settled=False)]).lost


def test_an_empty_engine_that_failed_is_tried_again() -> None:
    assert plan_recovery([]) == Plan()


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_nobody_is_forgotten_and_nobody_counts_twice(flags: list[tuple[bool, bool]]) -> None:
    standings = [Standing(number, *pair) for number, pair in enumerate(flags)]
    plan = plan_recovery(standings)
    if not plan.lost:
        assert sorted(plan.fail + plan.readd + plan.probation) == list(range(len(flags)))
