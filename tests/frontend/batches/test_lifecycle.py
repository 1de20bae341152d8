"""The states of a batch: every event in every state."""

import itertools

import msgspec
import pytest

from frontend.batches.lifecycle import Answered, CancelAsked, Event, Filed, Lost, Rejected, Validated, advance
from frontend.batches.record import LIVE, BatchError, BatchState
from tests.frontend.batches.made import batch

EVENTS: dict[str, Event] = {
    "validated": Validated(3, "m"),
    "rejected": Rejected((BatchError("empty_file", "none"),)),
    "answered": Answered(),
    "cancel": CancelAsked(),
    "filed": Filed(),
    "expired": Filed(expired=True),
    "lost": Lost(BatchError("input_file_lost", "gone")),
}
MOVES = {
    ("validating", "validated"): "in_progress",
    ("validating", "rejected"): "failed",
    ("validating", "cancel"): "cancelling",
    ("validating", "lost"): "failed",
    ("in_progress", "answered"): "finalizing",
    ("in_progress", "cancel"): "cancelling",
    ("in_progress", "expired"): "expired",
    ("in_progress", "lost"): "failed",
    ("finalizing", "filed"): "completed",
    ("finalizing", "expired"): "completed",
    ("cancelling", "filed"): "cancelled",
    ("cancelling", "expired"): "cancelled",
    ("cancelling", "lost"): "cancelled",
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(BatchState, EVENTS)))
def test_an_event_moves_a_batch_and_notes_when_or_changes_nothing(state, event):
    before = batch(state=state)
    after = advance(before, EVENTS[event], 77)
    wanted = MOVES.get((state.value, event))
    if wanted is None:
        assert after is before
    else:
        assert after.state == wanted
        assert getattr(after, f"{wanted}_at") == 77
        assert (after.ended_at is None) == after.is_live


def test_what_has_ended_stays_as_it_is():
    for state in set(BatchState) - LIVE:
        ended = batch(state=state)
        assert all(advance(ended, event, 77) is ended for event in EVENTS.values())


def test_validation_says_how_many_lines_there_are_or_what_is_wrong():
    begun = advance(batch(), EVENTS["validated"], 5)
    assert (begun.total, begun.model) == (3, "m")
    assert advance(batch(), EVENTS["rejected"], 5).errors[0].code == "empty_file"


@pytest.mark.parametrize(("output", "error"), [(0, 0), (10, 0), (0, 10), (10, 10)])
def test_files_appear_at_the_end_if_there_is_something_in_them(output, error):
    running = batch(state=BatchState.FINALIZING, output_bytes=output, error_bytes=error)
    assert running.output_file_id is running.error_file_id is None
    done = advance(running, Filed(), 5)
    assert done.output_file_id == (running.output_id if output else None)
    assert done.error_file_id == (running.error_id if error else None)


def test_a_cancel_of_the_server_gives_its_reason():
    reason = BatchError("api_key_revoked", "gone")
    assert advance(batch(state=BatchState.IN_PROGRESS), CancelAsked(reason), 5).errors == (reason,)


def test_a_record_survives_encoding():
    made = batch(metadata={"a": "b"}, errors=(BatchError("c", "m", None, 3),))
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made
