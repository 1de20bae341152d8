"""The search: what is tried next after which history, and what is best then."""

from bench.tuning.configuration import Change, Knob
from bench.tuning.search import Outcome, Search, Trial

KNOBS = (Knob("A", (None, "1", "2")), Knob("B", (None, "x")), Knob("C", ("u", "v"), changes_results=True))
NO_GAIN: list[tuple[Outcome, float]] = [("no gain", 0.9)] * 5
START = {"A": None, "B": None, "C": "u"}


def after(*outcomes: tuple[Outcome, float], search: Search | None = None) -> tuple[Search, list[str]]:
    """The search after trials that ended like this, and what was tried in which round."""
    search = search or Search(KNOBS, START)
    tried = []
    for outcome, ratio in outcomes:
        found = search.next()
        assert found is not None
        number, change = found
        tried.append(f"{number} {change.name}={change.value}")
        trial = Trial(round=number, change=change, outcome=outcome, ratios=(ratio,) if ratio else ())
        search = search.with_trial(trial)
    return search, tried


def test_each_value_is_tried_once_but_those_of_the_start():
    search, tried = after(*NO_GAIN[:4])
    assert tried == ["1 A=1", "1 A=2", "1 B=x", "1 C=v"]
    assert search.next() is None
    assert search.best == START


def test_what_follows_an_accepted_change_is_compared_with_it():
    search, tried = after(("accepted", 1.2), ("accepted", 1.1), ("no gain", 1.0))
    assert tried == ["1 A=1", "1 A=2", "1 B=x"]
    assert search.best == {"A": "2", "B": None, "C": "u"}


def test_a_start_that_is_no_value_of_its_own_is_compared_with_all():
    _, tried = after(*NO_GAIN, search=Search(KNOBS, START | {"A": "999"}))
    assert tried == ["1 A=None", "1 A=1", "1 A=2", "1 B=x", "1 C=v"]


def test_what_a_start_sets_is_left_to_the_engine_before_anything_else_is_tried():
    bad = Search(KNOBS, {"A": "999", "B": "y", "C": "u"})
    search, tried = after(("accepted", 1.6), ("accepted", 1.2), *NO_GAIN[:4], search=bad)
    assert tried == ["1 A=None", "1 B=None", "1 A=1", "1 A=2", "1 B=x", "1 C=v"]
    assert search.best == {"A": None, "B": None, "C": "u"}
    assert search.next() is None, "all were compared since the last accepted change"


def test_the_second_round_repeats_what_came_before_the_last_accepted_change():
    search, tried = after(("no gain", 0.99), ("no gain", 1.01), ("accepted", 1.5), ("no gain", 1.0))
    assert tried == ["1 A=1", "1 A=2", "1 B=x", "1 C=v"]
    search, tried = after(("accepted", 1.1), ("no gain", 1.0), search=search)
    assert tried == ["2 A=1", "2 A=2"]
    assert search.next() is None
    assert search.best == {"A": "1", "B": "x", "C": "u"}


def test_the_second_round_leaves_out_what_was_clearly_slower_or_failed():
    _, tried = after(("no gain", 0.8), ("failed", 0), ("accepted", 1.5), ("results differ", 1.2))
    search, _ = after(("no gain", 0.8), ("failed", 0), ("accepted", 1.5), ("results differ", 1.2))
    assert len(tried) == 4
    assert search.next() is None


def test_a_change_that_was_refused_or_ran_out_of_time_is_not_part_of_the_best():
    outcomes: tuple[Outcome, ...] = ("results differ", "out of time", "failed", "no gain")
    search, _ = after(*[(outcome, 1.5) for outcome in outcomes])
    assert search.best == START


def test_it_is_known_which_changes_change_results():
    search = Search(KNOBS, START)
    assert search.changes_results(Change("C", "v"))
    assert not search.changes_results(Change("A", "1"))
