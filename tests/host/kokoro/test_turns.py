"""Requests take turns, new ones first, and nobody waits for ever."""

from host.kokoro.turns import Turns


def order(turns: Turns[str], count: int) -> str:
    taken = ""
    for _ in range(count):
        one = turns.next()
        turns.again(one)
        taken += one
    return taken


def test_those_with_more_sentences_alternate():
    turns: Turns[str] = Turns()
    for name in "ab":
        turns.add(name)
    assert order(turns, 6) == "ababab"


def test_a_new_one_comes_before_those_that_have_begun():
    turns: Turns[str] = Turns()
    turns.again("a")
    turns.again("b")
    turns.add("n")
    assert turns.next() == "n"


def test_after_some_new_ones_an_older_one_has_its_turn():
    turns: Turns[str] = Turns()
    turns.again("a")
    for name in "vwxyz":
        turns.add(name)
    assert "".join(turns.next() for _ in range(6)) == "vwxyaz"


def test_what_is_dropped_has_no_turn():
    turns: Turns[str] = Turns()
    turns.add("a")
    turns.again("b")
    turns.drop(lambda name: name != "a")
    assert (len(turns), turns.next(), bool(turns)) == (1, "b", False)
