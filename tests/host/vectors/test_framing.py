"""The special tokens around inputs and pairs are found by encoding two words."""

import numpy as np
import pytest

from host.vectors.framing import Framing, find_framing
from host.vectors.request import IntArray


def ids(*numbers: int) -> IntArray:
    return np.array(numbers, np.int64)


BERT = Framing(prefix=(101,), suffix=(102,), middle=(102,))
ROBERTA = Framing(prefix=(0,), suffix=(2,), middle=(2, 2))


@pytest.mark.parametrize(
    ("probes", "pair", "doubled", "framing"),
    [
        ([ids(101, 7, 102), ids(101, 8, 102)], None, False, BERT),
        ([ids(101, 7, 102), ids(101, 8, 102)], ids(101, 7, 102, 8, 102), False, BERT),
        ([ids(0, 7, 2), ids(0, 8, 2)], None, True, ROBERTA),
        ([ids(0, 7, 2), ids(0, 8, 2)], ids(0, 7, 2, 2, 8, 2), False, ROBERTA),
        ([ids(0, 5, 7, 2), ids(0, 8, 2)], ids(0, 5, 7, 2, 2, 8, 2), False, ROBERTA),
        ([ids(7, 9), ids(8, 9)], None, False, Framing((), (9,), (9,))),
        ([ids(7), ids(8)], None, False, Framing((), (), ())),
        ([ids(7), ids(8)], ids(7, 8), False, Framing((), (), ())),
    ],
)
def test_it_is_what_probes_have_in_common(
    probes: list[IntArray], pair: IntArray | None, doubled: bool, framing: Framing
) -> None:
    assert find_framing(probes, pair, doubled) == framing


def test_an_input_is_framed_and_stripped_again() -> None:
    row = BERT.single(ids(5, 6))
    assert (row.ids.tolist(), row.second) == ([101, 5, 6, 102], 4)
    assert BERT.strip(row.ids).tolist() == [5, 6]


def test_the_second_segment_of_a_pair_begins_after_the_separators() -> None:
    row = ROBERTA.pair(ids(5), ids(6, 7))
    assert (row.ids.tolist(), row.second) == ([0, 5, 2, 2, 6, 7, 2], 4)
    assert len(row.ids) == 3 + ROBERTA.pair_tokens


def test_nothing_can_be_framed() -> None:
    assert BERT.single(ids()).ids.tolist() == [101, 102]
    assert Framing((), (), ()).single(ids()).ids.tolist() == []
