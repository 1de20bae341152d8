"""Texts are tokenized in turns, and share calls of the tokenizer."""

from collections.abc import Sequence

import numpy as np

from host.vectors.framing import Framing
from host.vectors.request import IntArray
from host.vectors.texts import TextQueue
from tests.host.vectors.inputs import LengthsRequest


class Characters:
    """A tokenizer that makes a token of each character, and takes no question mark."""

    framing = Framing((), (), ())

    def __init__(self) -> None:
        self.calls: list[int] = []  # texts in each

    def encode(self, texts: Sequence[str]) -> list[IntArray]:
        self.calls.append(len(texts))
        if any("?" in text for text in texts):
            raise RuntimeError("no token for this")
        return [np.array([ord(character) for character in text], np.int64) for text in texts]


def queue(*requests: list[str]) -> tuple[TextQueue, Characters, list[LengthsRequest]]:
    tokenizer = Characters()
    texts = TextQueue(tokenizer)
    made = [LengthsRequest(number, [], given) for number, given in enumerate(requests)]
    for request in made:
        texts.add(request)
    return texts, tokenizer, made


def test_texts_of_all_requests_share_a_call_and_keep_their_order() -> None:
    texts, tokenizer, requests = queue(["ab", "c"], ["d"])
    ready, refused = texts.advance()
    assert (ready, refused, tokenizer.calls) == (requests, {}, [3])
    assert [piece.tolist() for piece in requests[0].pieces] == [[97, 98], [99]]
    assert not texts


def test_a_request_without_texts_is_ready_at_once() -> None:
    texts, tokenizer, requests = queue([])
    assert texts.advance() == (requests, {})
    assert not tokenizer.calls


def test_long_texts_are_tokenized_over_several_steps_while_others_pass() -> None:
    texts, _, (large, small) = queue(["x" * 5000] * 20, ["y"])
    assert texts.advance() == ([small], {})
    steps = 1
    while texts:
        ready, _ = texts.advance()
        steps += 1
    assert (ready, steps > 5) == ([large], True)
    assert [len(piece) for piece in large.pieces] == [5000] * 20


def test_one_huge_text_is_a_step_of_its_own() -> None:
    texts, tokenizer, requests = queue(["x" * 500_000], ["y"])
    assert texts.advance() == (requests[:1], {})
    assert texts.advance() == (requests[1:], {})
    assert tokenizer.calls == [1, 1]


def test_a_text_that_cannot_be_tokenized_fails_its_request_only() -> None:
    texts, _, requests = queue(["a"], ["b", "?"], ["c"])
    ready, refused = texts.advance()
    assert (ready, list(refused)) == ([requests[0], requests[2]], [1])
    assert not texts


def test_a_dropped_request_is_not_tokenized() -> None:
    texts, tokenizer, requests = queue(["a"], ["b"])
    texts.drop(requests[0])
    texts.drop(requests[0])
    assert texts.advance() == (requests[1:], {})
    assert tokenizer.calls == [1]
