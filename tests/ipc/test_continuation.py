"""What the next token depends on, as a table."""

import pytest

from ipc.continuation import Continuation, continuation

BY_TEXT, BY_REPLAY, NONE = Continuation


@pytest.mark.parametrize(
    ("greedy", "seeded", "presence", "frequency", "expected"),
    [
        (True, False, 0.0, 0.0, BY_TEXT),
        (False, False, 0.0, 0.0, BY_TEXT),
        (True, True, 0.0, 0.0, BY_TEXT),  # a greedy choice needs no seed
        (False, True, 0.0, 0.0, BY_REPLAY),
        (True, False, 0.0, 0.1, BY_REPLAY),
        (True, False, -0.5, 0.0, BY_REPLAY),
        (False, True, 1.0, 0.0, BY_REPLAY),
        (False, False, 0.5, 0.0, NONE),
        (False, False, 0.0, -0.5, NONE),
    ],
)
def test_how_generation_can_go_on(greedy, seeded, presence, frequency, expected):
    how = continuation(greedy=greedy, seeded=seeded, presence_penalty=presence, frequency_penalty=frequency)
    assert how is expected
