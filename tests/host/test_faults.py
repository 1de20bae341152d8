"""Fault markers, and when they strike."""

import msgspec
import pytest

from host.engines.base import Body
from host.faults import Fault, FaultyEngine, find_fault
from ipc.errors import ErrorCode
from ipc.messages import (
    Accepted,
    ChatMessage,
    ChatPrompt,
    Delta,
    Failed,
    Gauges,
    Generate,
    ModelCard,
    Prompt,
    Reply,
    Sampling,
    TextPrompt,
    TokenPrompt,
    Work,
)

encode = msgspec.msgpack.encode


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[fault:segv]]", Fault("segv", 0)),
        ("please [[fault:hang@20]] now", Fault("hang", 20)),
        ("[[fault:raise@0]]", Fault("raise", 0)),
        ("[[fault:nap]]", None),
        ("[[fault:exit@]]", None),
        ("[[fault:exit@-1]]", None),
        ("[fault:exit]", None),
        ("", None),
    ],
)
def test_markers_are_found_in_text(text: str, fault: Fault | None) -> None:
    assert find_fault(encode(TextPrompt(text))) == fault


def test_markers_are_found_in_any_message() -> None:
    prompt = ChatPrompt([ChatMessage("system", "be nice"), ChatMessage("user", "[[fault:abort@3]]")])
    assert find_fault(memoryview(encode(prompt))) == Fault("abort", 3)


def test_token_ids_hold_no_marker() -> None:
    assert find_fault(encode(TokenPrompt([1, 2]))) is None


class Scripted:
    """Plays the engine that is wrapped: each step gives what the test says."""

    card = ModelCard("none", 1, 1, 0.0, "", {})
    busy = False

    def __init__(self, ends_at_once: bool = False) -> None:
        self.ends_at_once = ends_at_once
        self.next: list[Reply | Failed] = []
        self.poisoned: list[int] = []
        self.cancelled: list[int] = []

    def submit(self, work: Work, body: Body) -> list[Reply]:
        return [Reply(work.request_id) if self.ends_at_once else Accepted(work.request_id, 1)]

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)

    def step(self) -> list[Reply | Failed]:
        return self.next

    def gauges(self) -> Gauges:
        return Gauges(0, 0)


class Poisonable(Scripted):
    def poison(self, request_id: int) -> None:
        self.poisoned.append(request_id)


def armed(prompt: Prompt, wrapped: Scripted, resumed: int = 0) -> FaultyEngine:
    engine = FaultyEngine(wrapped)
    engine.submit(Generate(7, b"", Sampling(), list(range(resumed))), encode(prompt))
    return engine


def test_a_fault_without_a_count_strikes_before_the_first_step() -> None:
    wrapped = Poisonable()
    armed(TextPrompt("[[fault:raise]]"), wrapped).step()
    assert wrapped.poisoned == [7]


def test_a_fault_with_a_count_strikes_once_at_that_token() -> None:
    wrapped = Poisonable()
    engine = armed(TextPrompt("[[fault:raise@3]]"), wrapped)
    engine.step()
    wrapped.next = [Delta(7, [1], "a"), Delta(8, [1, 2, 3], "b")]
    for struck in ([], [], [7], [7]):
        engine.step()
        assert wrapped.poisoned == struck


def test_tokens_of_earlier_hosts_count() -> None:
    wrapped = Poisonable()
    engine = armed(TextPrompt("[[fault:raise@3]]"), wrapped, resumed=2)
    engine.step()
    assert wrapped.poisoned == []
    wrapped.next = [Delta(7, [1], "a")]
    engine.step()
    assert wrapped.poisoned == [7]


def test_a_request_without_a_marker_is_left_alone() -> None:
    wrapped = Poisonable()
    wrapped.next = [Delta(7, [1], "a")]
    armed(TextPrompt("hello"), wrapped).step()
    assert wrapped.poisoned == []


def test_a_cancelled_request_strikes_no_more() -> None:
    wrapped = Poisonable()
    engine = armed(TextPrompt("[[fault:raise]]"), wrapped)
    engine.cancel(7)
    engine.step()
    assert (wrapped.poisoned, wrapped.cancelled) == ([], [7])


def test_a_request_that_is_answered_at_once_never_reaches_a_step() -> None:
    wrapped = Poisonable(ends_at_once=True)
    armed(TextPrompt("[[fault:raise]]"), wrapped).step()
    assert wrapped.poisoned == []


def test_an_engine_that_cannot_be_poisoned_fails_the_request_alone() -> None:
    wrapped = Scripted()
    (failed,) = armed(TextPrompt("[[fault:raise]]"), wrapped).step()
    assert isinstance(failed, Failed)
    assert (failed.request_id, failed.error.code) == (7, ErrorCode.ENGINE_FAILED)
    assert wrapped.cancelled == [7]
