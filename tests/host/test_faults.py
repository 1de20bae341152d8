"""Fault markers, and when they strike."""

import pytest

from host.faults import Fault, FaultInjector, find_fault
from ipc.messages import ChatMessage, ChatPrompt, Delta, InlinePrompt, Step, TextPrompt, TokenPrompt


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
    assert find_fault(TextPrompt(text)) == fault


def test_markers_are_found_in_any_message() -> None:
    prompt = ChatPrompt([ChatMessage("system", "be nice"), ChatMessage("user", "[[fault:abort@3]]")])
    assert find_fault(prompt) == Fault("abort", 3)


def test_token_ids_hold_no_marker() -> None:
    assert find_fault(TokenPrompt([1, 2])) is None


def armed(prompt: InlinePrompt) -> tuple[FaultInjector, list[int]]:
    poisoned: list[int] = []
    injector = FaultInjector(poisoned.append)
    injector.arm(7, prompt)
    return injector, poisoned


def test_a_fault_without_a_count_strikes_before_the_first_step() -> None:
    injector, poisoned = armed(TextPrompt("[[fault:raise]]"))
    injector.before_step()
    assert poisoned == [7]


def test_a_fault_with_a_count_strikes_once_at_that_token() -> None:
    injector, poisoned = armed(TextPrompt("[[fault:raise@3]]"))
    injector.before_step()
    for struck in ([], [], [7], [7]):
        injector.after_step([Step([Delta(7, [1], "a"), Delta(8, [1, 2, 3], "b")])])
        assert poisoned == struck


def test_a_request_without_a_marker_is_left_alone() -> None:
    injector, poisoned = armed(TextPrompt("hello"))
    injector.before_step()
    injector.after_step([Step([Delta(7, [1], "a")])])
    assert poisoned == []
