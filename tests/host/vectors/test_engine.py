"""The engine around a model: failures, cancels and full arenas. The model is one that fails on demand.

What real models do in a real host is in tests/host/test_embeddings.py and test_rerank.py.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from host.engines.base import Body, EngineLost, RequestRefused
from host.results import Results
from host.vectors.batch import Batch
from host.vectors.engine import VectorEngine
from host.vectors.framing import Framing
from host.vectors.model import Model, Output
from host.vectors.planning import Limits
from host.vectors.request import FloatArray, IntArray, TokenRow
from ipc.arena import ArenaProducer, Lease
from ipc.errors import ErrorCode
from ipc.messages import Embed, Embedded, Failed, Release, Reply, VectorCard, Work
from tests.host.vectors.inputs import LengthsRequest

DEADLINE = 30.0
BAD = 666  # a length that the model fails on
ODD = 555  # one for which it computes what is not a number
LONGEST = 1000


class Lengths:
    """A model whose value for an input is its length."""

    lanes = 2
    chosen: dict[str, str] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.resets = 0
        self.broken = False  # fails always
        self.fails_after_reset = False

    def run(self, batch: Batch) -> Output:
        lengths = batch.lengths.tolist()
        self.passes.append(lengths)
        if self.broken or BAD in lengths:
            raise RuntimeError("the model fails on this")
        return np.where(batch.lengths == ODD, np.nan, batch.lengths).astype(np.float32)[:, None]

    def reset(self) -> None:
        self.resets += 1
        self.broken = self.broken or self.fails_after_reset


class NoTokenizer:
    framing = Framing((1,), (2,), ())

    def encode(self, texts: Sequence[str]) -> list[IntArray]:
        return [np.array([3])] * len(texts)


class Served:
    """An engine over that model, whose requests are given by the lengths of their inputs."""

    def __init__(self, arena_bytes: int = 1024 * 1024, batch_tokens: int = 1024) -> None:
        self.model = Lengths()
        self.arena = ArenaProducer("results", arena_bytes)
        self.results = Results(self.arena)
        card = VectorCard("", 256, LONGEST, 0.0, "", {}, 1, {})
        self.asked: dict[int, LengthsRequest] = {}
        self.engine = VectorEngine(
            card,
            lambda work, _body: self.asked[work.request_id],
            NoTokenizer(),
            Model(self.model, lambda output, batch: output.astype(np.float32)),
            Limits(batch_tokens, LONGEST, overhead=16),
            0,
            self.results,
            DEADLINE,
        )
        self.messages: dict[int, Reply | Failed] = {}

    def submit(self, request_id: int, *lengths: int) -> None:
        self.asked[request_id] = LengthsRequest(request_id, list(lengths))
        assert self.engine.submit(Embed(request_id, b""), b"") == []

    def step(self) -> None:
        for message in self.engine.step():
            assert message.request_id not in self.messages, "one end for each request"
            self.messages[message.request_id] = message

    def run_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            self.step()

    def run(self) -> None:
        self.run_until(lambda: not self.engine.busy)

    def values(self, request_id: int) -> list[int]:
        message = self.messages[request_id]
        assert isinstance(message, Embedded)
        assert isinstance(message.payload, bytes)
        return [int(value) for value in np.frombuffer(message.payload, np.float32)]

    def failed(self) -> list[int]:
        return sorted(number for number, message in self.messages.items() if isinstance(message, Failed))


def test_each_request_gets_its_own_values_in_its_order() -> None:
    served = Served()
    served.submit(1, 30, 10, 20)
    served.submit(2, 11)
    served.run()
    assert (served.values(1), served.values(2)) == ([30, 10, 20], [11])
    assert served.model.resets == 0


def test_requests_that_come_together_share_a_pass() -> None:
    served = Served()
    for request_id in range(8):
        served.submit(request_id, 10)
    served.run()
    assert served.model.passes == [[10] * 8]


def test_a_failing_input_fails_its_request_and_not_those_it_was_computed_with() -> None:
    served = Served(batch_tokens=16_384)
    for request_id in range(8):
        served.submit(request_id, BAD - request_id)
    served.submit(8, BAD - 8, 10)
    served.run()
    shared, alone = (computed for computed in served.model.passes if BAD in computed)
    assert (len(shared) > 1, alone) == (True, [BAD])
    assert served.failed() == [0]
    assert [served.values(number) for number in range(1, 8)] == [[BAD - number] for number in range(1, 8)]
    assert served.values(8) == [BAD - 8, 10]
    message = served.messages[0]
    assert isinstance(message, Failed)
    assert message.error.code is ErrorCode.ENGINE_FAILED
    assert served.model.resets == 2, "after the shared pass, and after the one alone"


def test_several_failing_requests_in_one_pass_all_fail() -> None:
    served = Served(batch_tokens=16_384)
    for request_id in range(4):
        served.submit(request_id, BAD)
    served.run()
    assert served.failed() == [0, 1, 2, 3]
    served.submit(4, 10)
    served.run()
    assert served.values(4) == [10]


def test_a_model_that_fails_on_its_own_input_is_lost() -> None:
    served = Served()
    served.model.broken = True
    served.submit(1, 10)
    with pytest.raises(EngineLost, match="the engine failed: the model fails on this"):
        served.run()
    assert not served.messages, "the request may succeed in another host"


def test_a_model_that_is_no_better_after_its_reset_is_lost() -> None:
    served = Served()
    served.model.fails_after_reset = True
    served.submit(1, BAD)
    with pytest.raises(EngineLost):
        served.run()


def test_an_error_that_wedges_the_device_costs_the_engine_at_once() -> None:
    served = Served()

    def wedged(_output: Output, _batch: Batch) -> FloatArray:
        raise RuntimeError("[GPU] CL_OUT_OF_RESOURCES")

    served.engine._model = Model(served.model, wedged)
    served.submit(1, 10)
    with pytest.raises(EngineLost, match="CL_OUT_OF_RESOURCES"):
        served.run()
    assert served.model.resets == 0


def test_values_that_are_no_numbers_fail_their_request_only() -> None:
    served = Served()
    served.submit(1, ODD - 1)
    served.submit(2, ODD)
    served.run()
    assert (served.failed(), served.values(1)) == ([2], [ODD - 1])


def test_a_cancelled_request_is_computed_no_further() -> None:
    served = Served()
    served.submit(1, *[1000] * 500)
    served.run_until(lambda: len(served.model.passes) > 3)
    served.engine.cancel(1)
    served.engine.cancel(1)
    served.run()
    assert len(served.model.passes) < 20
    assert not served.messages


def test_a_request_cancelled_while_it_is_suspected_leaves_no_trace() -> None:
    served = Served()
    served.submit(1, BAD)
    served.submit(2, 20)
    served.run_until(lambda: served.engine._failures.needs_reset)
    served.engine.cancel(1)
    served.run()
    assert (served.failed(), served.values(2)) == ([], [20])


def test_a_refusal_after_tokenizing_fails_the_request() -> None:
    served = Served()

    class TooLong(LengthsRequest):
        def token_rows(self) -> list[TokenRow]:
            raise RequestRefused(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", "input[0]")

    served.asked[1] = TooLong(1, [])
    served.engine.submit(Embed(1, b""), b"")
    served.submit(2, 10)
    served.run()
    message = served.messages[1]
    assert isinstance(message, Failed)
    assert (message.error.param, served.values(2)) == ("input[0]", [10])


def test_a_full_arena_holds_up_results_and_not_the_computing() -> None:
    served = Served(arena_bytes=128 * 1024)
    big = [3] * 20_000  # 80 kB of results
    served.submit(1, *big)
    served.submit(2, *big)
    served.submit(3, 30)
    served.run_until(lambda: len(served.messages) == 2)
    assert 3 in served.messages
    (first,) = served.messages.keys() - {3}
    placed = served.messages[first]
    assert isinstance(placed, Embedded)
    payload = placed.payload
    assert isinstance(payload, Lease)
    for _ in range(5):
        served.step()
    assert served.engine.busy
    served.results.release(Release(payload.slot, payload.generation))
    served.run()
    assert sorted(served.messages) == [1, 2, 3]


def test_gauges_count_what_is_computed_and_what_waits() -> None:
    served = Served()
    served.submit(1, 1000)
    served.submit(2, 1000)
    served.submit(3, 1000)
    assert (served.engine.gauges().running, served.engine.gauges().waiting) == (0, 3)
    served.run()
    assert (served.engine.gauges().running, served.engine.gauges().waiting) == (0, 0)


def test_it_refuses_what_its_reader_refuses() -> None:
    served = Served()

    def refuse(_work: Work, _body: Body) -> LengthsRequest:
        raise RequestRefused(ErrorCode.INVALID_VALUE, "no")

    served.engine._read = refuse
    with pytest.raises(RequestRefused):
        served.engine.submit(Embed(1, b""), b"")
    assert not served.engine.busy
