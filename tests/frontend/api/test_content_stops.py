"""Stop strings that end an answer in its content, and nowhere else."""

from collections.abc import Iterable

import pytest

from frontend.api.content_stops import ContentStops
from frontend.parsing.events import CallArguments, CallBegun, Content, Event, Reasoning
from ipc.messages import Sampling

THOUGHT_AND_CALL: list[Event] = [
    Reasoning("I think of STOP. "),
    Content("Before. "),
    CallBegun(0, "STOP"),
    CallArguments(0, '{"a": "STOP"}'),
]


def cut(*batches: Iterable[Event], **sampling: object) -> tuple[list[Event], str | None]:
    """What remains of batches of events, each of which came with one token."""
    stops = ContentStops(Sampling(stop=["STOP", "END"], **sampling))  # type: ignore[arg-type]
    events = []
    for number, batch in enumerate(batches, start=1):
        events += stops.cut(list(batch), number, ended=number == len(batches))
        if stops.matched is not None:
            break
    return events, stops.matched


def test_reasoning_and_calls_may_hold_a_stop_string() -> None:
    assert cut(THOUGHT_AND_CALL) == (THOUGHT_AND_CALL, None)


def test_content_ends_before_the_first_stop_string() -> None:
    events = [*THOUGHT_AND_CALL, Content("After END and STOP."), Content("More.")]
    assert cut(events) == ([*THOUGHT_AND_CALL, Content("After ")], "END")


def test_it_is_shown_where_that_is_asked_for() -> None:
    assert cut([Content("a STOP b")], include_stop=True) == ([Content("a STOP")], "STOP")


@pytest.mark.parametrize("at", range(1, len("Well, STOP it.")))
def test_it_is_found_wherever_the_text_is_cut(at: int) -> None:
    text = "Well, STOP it."
    events, matched = cut([Content(text[:at])], [Content(text[at:])])
    assert ("".join(event.text for event in events if isinstance(event, Content)), matched) == (
        "Well, ",
        "STOP",
    )


def test_what_may_become_one_is_shown_at_the_end() -> None:
    assert cut([Content("a STO")], []) == ([Content("a "), Content("STO")], None)


def test_what_may_become_one_precedes_a_call() -> None:
    call: list[Event] = [CallBegun(0, "f"), CallArguments(0, "{}")]
    assert cut([Content("STO")], call, [Content("P")]) == ([Content("STO"), *call, Content("P")], None)


def test_it_counts_once_the_minimum_of_tokens_is_reached() -> None:
    batches = [Content("STOP ")], [Content("STOP ")], [Content("STOP ")]
    assert cut(*batches, min_tokens=3) == ([Content("STOP "), Content("STOP ")], "STOP")
