"""An account of what the engine's prefix cache holds, which the engine does not tell. Pure.

The pipeline keeps every block of its KV cache under a hash of all tokens up to the block's end, full blocks
and unfinished last ones alike, also after their requests have ended, until it needs the room: then that block
goes which was longest ago taken anew or found again. A new prompt takes the blocks it finds, from its
beginning to the first gap. Its last token is always computed.

The account follows each call and each step by these rules, so that it knows what a prompt will find. It is
exact as long as the pipeline is never out of blocks; when it is, and puts requests back, the account may say
too much or too little until those requests have ended.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple


class _Block:
    __slots__ = ("key", "stamp", "users")

    def __init__(self, stamp: int) -> None:
        self.key = 0
        self.stamp = stamp  # by which blocks are given up
        self.users = 0


class CachedSequence:
    """A request's part of the cache. `ids` grow with what it generates."""

    __slots__ = ("blocks", "computed", "ids", "keys", "prompt_tokens", "steady_until", "stopped")

    def __init__(self, ids: list[int]) -> None:
        self.ids = list(ids)
        self.prompt_tokens = len(ids)
        self.computed = 0  # tokens whose keys and values are in the cache
        self.blocks: list[_Block] = []
        self.keys: list[int] = []  # of full blocks
        self.stopped = False  # cancelled, which the pipeline heeds with its next step
        self.steady_until = 0  # with fewer ids, its next two steps change nothing but `computed`

    def key(self, end: int, block_tokens: int) -> int:
        """Of the block that holds the tokens up to `end`."""
        full = (end - 1) // block_tokens
        keys = self.keys
        for start in range(len(keys) * block_tokens, full * block_tokens, block_tokens):
            keys.append(hash((keys[-1] if keys else 0, *self.ids[start : start + block_tokens])))
        return hash((keys[full - 1] if full else 0, *self.ids[full * block_tokens : end]))


def _generates(sequence: CachedSequence) -> bool:
    return sequence.computed >= sequence.prompt_tokens


class Found(NamedTuple):
    """What a prompt would find."""

    tokens: int
    unfinished: object  # the block that its own tokens would be written into; None if a new one
    in_use: int  # blocks of them that others use


class PrefixCache:
    """Blocks of `block_tokens` tokens; `step_tokens` is what one step computes at most."""

    def __init__(self, blocks: int, block_tokens: int, step_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._step_tokens = step_tokens
        self._capacity = blocks
        self._surplus = 0  # blocks in use that the pipeline does not have
        self._free = deque(_Block(stamp) for stamp in range(blocks))
        self._stamp = blocks
        self._known: dict[int, _Block] = {}  # by key, in use or not
        self._unused: dict[int, _Block] = {}  # by key
        self._order: list[
            tuple[int, int, _Block]
        ] = []  # a heap over the unused, with entries that no longer hold
        self._live: list[CachedSequence] = []

    def find(self, ids: list[int]) -> Found:
        self._settle()
        blocks = list(self._find(CachedSequence(ids)))
        tokens, last = blocks[-1] if blocks else (0, None)
        unfinished = tokens % self._block_tokens and tokens < len(ids)
        in_use = sum(block.users > 0 for _, block in blocks)
        return Found(min(tokens, len(ids) - 1), last if unfinished else None, in_use)

    @property
    def blocks_short(self) -> int:
        """How many blocks the next two steps need that there will not be. One step cannot be seen in time:
        a cancelled request gives its blocks back at the end of the next."""
        wanted = coming = 0
        for sequence in self._live:
            if sequence.stopped:
                coming += sum(block.users == 1 for block in sequence.blocks)
            elif len(sequence.ids) >= sequence.steady_until and _generates(sequence):
                wanted += self._wanted(sequence)
        return wanted - len(self._free) - len(self._unused) - coming

    @property
    def blocks_spare(self) -> int:
        """Blocks for new prompts: what generates can go on for a block each beyond its next steps."""
        return len(self._free) + len(self._unused) - sum(self._wanted(s) + 1 for s in self._generating())

    def _generating(self) -> list[CachedSequence]:
        return [s for s in self._live if not s.stopped and _generates(s)]

    def _wanted(self, sequence: CachedSequence) -> int:
        """Blocks that it takes in the next two steps at most."""
        more = -(-(len(sequence.ids) + 1) // self._block_tokens) - len(sequence.blocks)
        return max(0, more) + (sequence.blocks[-1].users > 1)

    def add(self, ids: list[int]) -> CachedSequence:
        """A new request takes what it finds: `computed` says how many tokens that is."""
        self._settle()
        sequence = CachedSequence(ids)
        for end, block in self._find(sequence):
            self._take(block)
            sequence.blocks.append(block)
            sequence.computed = min(end, len(ids) - 1)
        for other in self._live:  # whose last block may be shared now
            other.steady_until = 0
        self._live.append(sequence)
        return sequence

    def _find(self, sequence: CachedSequence) -> Iterable[tuple[int, _Block]]:
        size, total = self._block_tokens, len(sequence.ids)
        for start in range(0, total, size):
            whole = min(start + size, total)
            # An unfinished block is found by its least length.
            for end in (whole, *range(start + 1, min(start + size, total + 1))):
                key = sequence.key(end, size)
                block = self._unused.get(key) or self._known.get(key)
                if block is not None:
                    yield end, block
                    break
            else:
                return
            if end != whole:
                return

    def schedule(self) -> None:
        """One step of the pipeline: a token for each that generates, then prompts in order of arrival."""
        budget = self._step_tokens
        for sequence in self._live:
            if sequence.stopped or not budget:
                continue
            if len(sequence.ids) < sequence.steady_until:
                budget -= 1
                sequence.computed = len(sequence.ids)
            elif _generates(sequence):
                budget -= 1
                self._generate(sequence)
        for sequence in self._live:
            tokens = min(budget, sequence.prompt_tokens - sequence.computed)
            if tokens > 0 and not sequence.stopped:
                budget -= tokens
                sequence.computed += tokens
                self._allocate(sequence, -(-sequence.computed // self._block_tokens))

    def remove(self, sequence: CachedSequence) -> None:
        """The request has ended; what it leaves can be found until the room is needed."""
        if sequence not in self._live:
            return
        self._settle_last(sequence)
        self._live.remove(sequence)
        for block in sequence.blocks:
            self._release(block)

    # --- blocks -----------------------------------------------------------------------------------

    def _generate(self, sequence: CachedSequence) -> None:
        sequence.computed = len(sequence.ids)
        needed = -(-sequence.computed // self._block_tokens)
        if needed > len(sequence.blocks):
            self._allocate(sequence, needed)
        elif sequence.blocks[-1].users > 1:  # copied before it is written to
            shared = sequence.blocks[-1]
            sequence.blocks[-1] = self._new(sequence.key(sequence.computed, self._block_tokens))
            self._release(shared)
        if sequence.blocks[-1].users == 1:
            sequence.steady_until = len(sequence.blocks) * self._block_tokens

    def _allocate(self, sequence: CachedSequence, needed: int) -> None:
        if needed > len(sequence.blocks):
            self._rename_last(sequence, len(sequence.blocks) * self._block_tokens)
        while len(sequence.blocks) < needed:
            end = min((len(sequence.blocks) + 1) * self._block_tokens, len(sequence.ids))
            sequence.blocks.append(self._new(sequence.key(end, self._block_tokens)))

    def _settle(self) -> None:
        """Keys of blocks that are being filled change with each token; here they are brought up to date."""
        for sequence in self._live:
            self._settle_last(sequence)

    def _settle_last(self, sequence: CachedSequence) -> None:
        if sequence.computed > sequence.prompt_tokens:
            self._rename_last(sequence, sequence.computed)

    def _rename_last(self, sequence: CachedSequence, end: int) -> None:
        if not sequence.blocks:
            return
        block, key = sequence.blocks[-1], sequence.key(end, self._block_tokens)
        if block.key != key:
            self._known.pop(block.key, None)
            block.key = key
            self._known[key] = block

    def _take(self, block: _Block) -> None:
        self._unused.pop(block.key, None)
        block.users += 1
        block.stamp = self._next_stamp()

    def _new(self, key: int) -> _Block:
        if self._free:
            block = self._free.popleft()
        else:
            block = self._least_recent() or self._invented()
            self._known.pop(block.key, None)
            block.stamp = self._next_stamp()
        block.users = 1
        block.key = key
        self._known[key] = block
        return block

    def _invented(self) -> _Block:
        self._surplus += 1
        return _Block(self._stamp)

    def _least_recent(self) -> _Block | None:
        while self._order:
            stamp, _, block = heapq.heappop(self._order)
            if block.stamp == stamp and self._unused.get(block.key) is block:
                del self._unused[block.key]
                return block
        return None

    def _release(self, block: _Block) -> None:
        block.users -= 1
        if block.users:
            return
        if self._surplus:
            self._surplus -= 1
            if self._known.get(block.key) is block:
                del self._known[block.key]
            return
        twin = self._unused.pop(block.key, None)
        if twin is not None:  # of two with the same content one is enough
            self._free.append(twin)
            if self._known.get(twin.key) is twin:
                del self._known[twin.key]
        self._unused[block.key] = block
        heapq.heappush(self._order, (block.stamp, id(block), block))
        if len(self._order) > 4 * self._capacity:
            self._order = [(unused.stamp, id(unused), unused) for unused in self._unused.values()]
            heapq.heapify(self._order)

    def _next_stamp(self) -> int:
        self._stamp += 1
        return self._stamp
