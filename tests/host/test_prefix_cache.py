"""The account of the prefix cache against the engine itself, and the plan that keeps that cache right."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.engines.prefill import PrefillPlan
from host.engines.prefix_cache import CachedSequence, PrefixCache
from ipc.kv_cache import least_step_tokens

BLOCK = 32
TEXTS = [list(range(at, at + 200)) for at in (1000, 2000, 3000)]


class Requests:
    """A raw pipeline and its account, driven together."""

    def __init__(self, path: Path, blocks: int, step_tokens: int) -> None:
        import openvino_genai as genai

        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = blocks
        scheduler.max_num_batched_tokens = step_tokens
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        self._genai = genai
        self._native = genai.ContinuousBatchingPipeline(path, scheduler, "CPU")
        self._step_tokens = step_tokens
        self._account = PrefixCache(blocks, BLOCK, step_tokens)
        self._live: list[tuple[Any, CachedSequence]] = []
        self._stopped: list[CachedSequence] = []
        self._last_id = 0
        self.ended: list[list[int]] = []

    def add(self, ids: list[int], max_tokens: int) -> CachedSequence:
        import numpy as np
        from openvino import Tensor

        config = self._genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos = max_tokens, True
        self._last_id += 1
        handle = self._native.add_request(self._last_id, Tensor(np.array([ids])), config)
        self._live.append((handle, self._account.add(ids)))
        return self._live[-1][1]

    def step(self) -> None:
        self._account.schedule()
        self._native.step()
        for sequence in self._stopped:
            self._account.remove(sequence)
        self._stopped.clear()
        for handle, sequence in list(self._live):
            while handle.can_read():
                (output,) = handle.read().values()
                sequence.ids += output.generated_ids
                if output.finish_reason != self._genai.GenerationFinishReason.NONE:
                    self._account.remove(sequence)
                    self._live.remove((handle, sequence))
                    self.ended.append(sequence.ids)

    def stop(self, index: int) -> None:
        handle, sequence = self._live.pop(index % len(self._live))
        handle.cancel()
        sequence.stopped = True
        self._stopped.append(sequence)

    @property
    def busy(self) -> bool:
        return bool(self._live or self._stopped)

    def computed(self, ids: list[int]) -> tuple[int, int]:
        """Tokens that the engine computes for a prompt alone, by its steps, and what the account expects."""
        while self.busy:
            self.step()
        sequence = self.add(ids, 3)
        expected = len(ids) - sequence.computed
        steps = 0
        while len(sequence.ids) == len(ids):
            self.step()
            steps += 1
        return steps * self._step_tokens, -(-expected // self._step_tokens) * self._step_tokens


@pytest.mark.parametrize("blocks", [60, 16], ids=["with room", "with evictions"])
def test_the_account_says_what_the_engine_finds(qwen3_ir: Path, blocks: int) -> None:
    """With few tokens a step, the number of steps to the first token tells what was computed."""
    chance = random.Random(blocks)
    requests = Requests(qwen3_ir, blocks, step_tokens=4)

    def prompt() -> list[int]:
        text = chance.choice(TEXTS + requests.ended[-12:])
        begin = text[: chance.choice([chance.randrange(1, len(text)), BLOCK, 2 * BLOCK, len(text)])]
        return begin[: blocks * BLOCK // 4] + [chance.randrange(4000, 5000)] * chance.choice([0, 1, 20])

    found = 0
    for _ in range(35):
        ids = prompt()
        real, expected = requests.computed(ids)
        assert real == expected, f"a prompt of {len(ids)} tokens"
        found += real < len(ids)
        if chance.random() < 0.4:
            for _ in range(chance.randrange(1, 3)):
                requests.add(prompt(), chance.choice([1, 5, 9]))
            for _ in range(chance.randrange(60)):
                requests.step()
            if requests.busy and chance.random() < 0.5:
                requests.stop(chance.randrange(9))
    assert found > 10


lengths = st.integers(1, 150)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), lengths, st.integers(0, 3)), max_size=25), st.integers(6, 40))
def test_no_block_is_lost_or_doubled(history: list[tuple[int, int, int]], blocks: int) -> None:
    cache = PrefixCache(blocks, BLOCK, 64)
    live: list[CachedSequence] = []
    for text, length, steps in history:
        room = blocks - sum(-(-len(sequence.ids) // BLOCK) + 1 for sequence in live)
        if -(-length // BLOCK) + 1 > room:
            for sequence in live:
                cache.remove(sequence)
            live.clear()
        live.append(cache.add(TEXTS[text][:length]))
        for _ in range(steps):
            cache.schedule()
            for sequence in live:
                if sequence.computed >= sequence.prompt_tokens:
                    sequence.ids.append(7)
    for sequence in live:
        cache.remove(sequence)
    rest = {id(block) for block in (*cache._free, *cache._unused.values())}
    assert len(rest) == len(cache._free) + len(cache._unused) == blocks
    assert all(block.users == 0 for block in (*cache._free, *cache._unused.values()))


def test_after_a_shortage_the_account_is_as_large_as_the_cache_again() -> None:
    cache = PrefixCache(10, BLOCK, 1000)
    live = [cache.add(TEXTS[text]) for text in (0, 1, 2)]  # of seven blocks each
    for _ in range(2):
        cache.schedule()
    for sequence in live:
        cache.remove(sequence)
    assert len(cache._free) + len(cache._unused) == 10
    assert {id(block) for block in cache._known.values()} == {id(block) for block in cache._unused.values()}


def test_what_generates_is_known_to_be_short_of_blocks_two_steps_before() -> None:
    cache = PrefixCache(14, BLOCK, 1000)
    live = [cache.add(TEXTS[text]) for text in (0, 1)]  # of seven blocks each

    def step() -> None:
        cache.schedule()
        for sequence in live:
            sequence.ids.append(7)

    step()
    while cache.blocks_short <= 0:
        step()
    assert len(live[0].ids) == 7 * BLOCK
    step()
    assert cache._surplus == 0
    step()
    assert cache._surplus == 2
    live[1].stopped = True
    assert cache.blocks_short <= 0  # what it holds is on its way back


def test_a_prompt_waits_while_what_generates_may_need_the_blocks() -> None:
    cache = PrefixCache(14, BLOCK, 1000)
    cache.add(TEXTS[0])
    cache.schedule()
    crowded = PrefillPlan(cache, BLOCK, 256, alone=False)
    assert crowded.take(TEXTS[1][:150]) == (0, 0)
    assert crowded.take(TEXTS[1][:60]) == (60, 0)
    crowded = PrefillPlan(cache, BLOCK, 256, alone=False)
    assert crowded.take(TEXTS[0][:150]) == (150, 128)  # most of it is in use already
    assert PrefillPlan(cache, BLOCK, 256, alone=True).take(TEXTS[1][:150]) == (150, 0)


# --- the plan of a step ----------------------------------------------------------------------------------


def plan(cache: PrefixCache, room: int = 256) -> PrefillPlan:
    return PrefillPlan(cache, BLOCK, room)


def test_a_prompt_that_fits_the_step_is_added_whole() -> None:
    assert plan(PrefixCache(100, BLOCK, 256)).take(TEXTS[0]) == (200, 0)


def test_of_a_long_prompt_whole_blocks_are_added() -> None:
    assert plan(PrefixCache(100, BLOCK, 256), room=100).take(TEXTS[0]) == (96, 0)


def test_with_less_room_than_a_block_a_prompt_waits() -> None:
    """A piece of a block stays filed under its first tokens, so that the next step would compute it again."""
    assert plan(PrefixCache(100, BLOCK, 256), room=5).take(TEXTS[0]) == (0, 0)


@pytest.mark.parametrize("room", [least_step_tokens("CPU"), 256])
@pytest.mark.parametrize("found", [0, 1, 31, 32, 33, 40, 63, 64, 65])
def test_with_the_least_room_every_prompt_gets_in(room: int, found: int) -> None:
    cache = PrefixCache(100, BLOCK, room)
    if found:
        cache.remove(_computed(cache, TEXTS[0][:found]))
    for _ in range(10):
        end, cached = plan(cache, room).take(TEXTS[0])
        assert end > cached
        if end == len(TEXTS[0]):
            return
        cache.remove(_computed(cache, TEXTS[0][:end]))
    raise AssertionError("the prompt is computed again and again")


def test_what_is_cached_takes_no_room() -> None:
    cache = PrefixCache(100, BLOCK, 256)
    cache.remove(_computed(cache, TEXTS[0][:96]))
    assert plan(cache, room=104).take(TEXTS[0]) == (200, 96)
    assert plan(cache, room=103).take(TEXTS[0]) == (192, 96)


def test_prompts_share_the_room_in_order() -> None:
    taken = plan(PrefixCache(100, BLOCK, 256))
    assert [taken.take(text)[0] for text in TEXTS] == [200, 32, 0]
    assert plan(PrefixCache(100, BLOCK, 256), room=0).take(TEXTS[0]) == (0, 0)


def test_two_prompts_never_write_into_one_unfinished_block_in_one_step() -> None:
    cache = PrefixCache(100, BLOCK, 256)
    cache.remove(_computed(cache, TEXTS[0][:70]))
    first, second = TEXTS[0][:70] + [1] * 50, TEXTS[0][:70] + [2] * 50
    taken = plan(cache)
    assert taken.take(first) == (120, 70)
    cache.add(first)
    assert taken.take(second) == (0, 70)
    cache.schedule()
    assert plan(cache).take(second) == (120, 64)  # the block is no longer found: it holds another text


def _computed(cache: PrefixCache, ids: list[int]) -> CachedSequence:
    sequence = cache.add(ids)
    cache.schedule()
    return sequence
