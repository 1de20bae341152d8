"""Results that no engine can have produced are refused before anything counts or decodes them."""

import msgspec
import pytest

from ipc.arena import Lease
from ipc.messages import Embedded, ModelCard

CARD = ModelCard("none", 1, 1, 0.0, "", {})
WHOLE = Embedded(7, bytes(24), (2, 3), 5)


def test_a_result_may_be_empty_and_have_read_nothing():
    for result in (WHOLE, Embedded(7, b"", (0, 3)), Embedded(7, bytes(4), ())):
        result.check(CARD)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"payload": bytes(23)}, r"do not match its shape \(2, 3\)"),
        ({"payload": Lease(0, 1, 0, 24)}, "do not match"),
        ({"shape": (-2, -3)}, "do not match"),
        ({"prompt_tokens": -1}, "an input of -1 tokens"),
    ],
)
def test_what_no_engine_produces_is_refused(changes, error):
    with pytest.raises(ValueError, match=error):
        msgspec.structs.replace(WHOLE, **changes).check(CARD)
