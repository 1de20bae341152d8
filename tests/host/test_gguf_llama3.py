"""A GGUF file of Llama 3, converted and served: its whole context, its pre-tokenizer, its first token."""

from collections.abc import Iterator

import pytest

from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, Ready, TextPrompt
from tests.host.harness import HostUnderTest, host_running, launch_of
from tests.models.llama3 import tiny_llama3

BEGIN = 128_000  # <|begin_of_text|>
CONTEXT = 131_072


@pytest.fixture(scope="module")
def host() -> Iterator[HostUnderTest]:
    with host_running(launch_of(tiny_llama3())) as host:
        yield host


def test_the_context_is_the_models_own(host: HostUnderTest) -> None:
    assert host.first(Ready).card.context_length == CONTEXT


def test_all_tokens_of_a_long_prompt_reach_the_model(host: HostUnderTest) -> None:
    outcome = host.run("first" + " a" * 9_999, max_tokens=2)
    assert outcome.error is None
    assert outcome.prompt_tokens == 10_001  # with the first one


def test_an_overflow_names_the_prompts_own_length(host: HostUnderTest) -> None:
    error = host.run(" a" * (CONTEXT + 5), max_tokens=1).error
    assert error.code == ErrorCode.CONTEXT_LENGTH_EXCEEDED
    assert str(CONTEXT) in error.message and str(CONTEXT + 6) in error.message


def test_words_are_cut_as_llama3_does(host: HostUnderTest) -> None:
    ids = host.ask(TextPrompt("I don't (ok) = 2024 12345", add_special_tokens=False)).token_ids
    assert ids == [40, 1541, 956, 320, 564, 8, 284, 220, 2366, 19, 220, 4513, 1774]


def test_a_completion_begins_with_the_first_token_unless_the_client_says_no(host: HostUnderTest) -> None:
    assert host.ask(TextPrompt("Hi")).token_ids == [BEGIN, 13347]
    assert host.ask(TextPrompt("Hi", add_special_tokens=False)).token_ids == [13347]


def test_a_chat_template_that_writes_the_first_token_gets_no_second_one(host: HostUnderTest) -> None:
    ids = host.ask(ChatPrompt([ChatMessage("user", "Hi")])).token_ids
    assert ids[0] == BEGIN
    assert ids.count(BEGIN) == 1
    assert ids[-4:] == [128_006, 78_191, 128_007, 271]  # the assistant's header
