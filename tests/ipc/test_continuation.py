"""What the next token depends on, as a table."""

import pytest

from ipc.continuation import Continuation, continuation

BY_TEXT, BY_REPLAY, NONE = Continuation


@pytest.mark.parametrize(
    ("greedy", "seeded", "presence", "frequency", "grammar", "expected"),
    [
        (True, False, 0.0, 0.0, False, BY_TEXT),
        (False, False, 0.0, 0.0, False, BY_TEXT),
        (True, True, 0.0, 0.0, False, BY_TEXT),  # a greedy choice needs no seed
        (False, True, 0.0, 0.0, False, BY_REPLAY),
        (True, False, 0.0, 0.1, False, BY_REPLAY),
        (True, False, -0.5, 0.0, False, BY_REPLAY),
        (False, True, 1.0, 0.0, False, BY_REPLAY),
        (False, False, 0.5, 0.0, False, NONE),
        (False, False, 0.0, -0.5, False, NONE),
        (True, False, 0.0, 0.0, True, BY_REPLAY),
        (False, True, 0.0, 0.0, True, BY_REPLAY),
        (False, False, 0.0, 0.0, True, NONE),
    ],
)
def test_how_generation_can_go_on(greedy, seeded, presence, frequency, grammar, expected):
    how = continuation(
        greedy=greedy,
        seeded=seeded,
        presence_penalty=presence,
        frequency_penalty=frequency,
        grammar=grammar,
    )
    assert how is expected
