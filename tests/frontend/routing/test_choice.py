"""Which replica gets a sequence, and how long a refused client waits."""

from frontend.routing.choice import (
    AFFINITY_MARGIN_TOKENS,
    Load,
    choose,
    estimated_tokens,
    retry_after_seconds,
)
from frontend.routing.prefixes import BLOCK_CHARACTERS, PrefixMemory, prefix_blocks
from frontend.tasks.text import leading_text
from ipc.messages import ChatMessage, ChatPrompt, TokenPrompt


def load(outstanding: int, free: int = 1, matching: int = 0) -> Load:
    return Load(outstanding, free, matching)


def test_least_outstanding_tokens_wins():
    assert choose([load(300), load(100), load(200)]) == 1


def test_a_shared_prefix_wins_over_a_small_difference_of_load():
    assert choose([load(0), load(AFFINITY_MARGIN_TOKENS, matching=2)]) == 1


def test_a_shared_prefix_does_not_win_over_a_large_one():
    assert choose([load(0), load(AFFINITY_MARGIN_TOKENS + 1, matching=2)]) == 0


def test_a_full_replica_is_no_choice():
    assert choose([load(0, free=0), load(900)]) == 1
    assert choose([load(0, free=0)]) is None
    assert choose([]) is None


def test_a_long_answer_counts_as_load():
    assert estimated_tokens(400, 1000) == 1100
    assert estimated_tokens(400, None) > 100


def test_a_refused_client_waits_as_long_as_the_queue_takes():
    assert retry_after_seconds(waiting=64, slots=32, mean_seconds=4.0) == 8
    assert retry_after_seconds(waiting=0, slots=0, mean_seconds=0.0) == 1
    assert retry_after_seconds(waiting=10**6, slots=1, mean_seconds=60.0) == 60


def test_prompts_match_as_far_as_they_begin_alike():
    shared = "s" * (3 * BLOCK_CHARACTERS)
    memory = PrefixMemory()
    memory.remember(prefix_blocks(shared + "a" * 600))
    assert memory.matching(prefix_blocks(shared + "b" * 600)) == 3
    assert memory.matching(prefix_blocks("b" + shared)) == 0
    memory.forget()
    assert memory.matching(prefix_blocks(shared)) == 0


def test_a_block_counts_only_after_the_blocks_before_it():
    memory = PrefixMemory()
    memory.remember(prefix_blocks("a" * BLOCK_CHARACTERS + "x" * BLOCK_CHARACTERS))
    assert memory.matching(prefix_blocks("b" * BLOCK_CHARACTERS + "x" * BLOCK_CHARACTERS)) == 0


def test_chats_and_token_ids_have_prefixes_too():
    chat = [ChatMessage("system", "s" * 600), ChatMessage("user", "u")]
    assert len(prefix_blocks(leading_text(ChatPrompt(chat)))) == 2
    assert prefix_blocks(leading_text(ChatPrompt(chat))) != prefix_blocks("s" * 600)
    assert len(prefix_blocks(leading_text(TokenPrompt([1, 2, 3])))) == 1
