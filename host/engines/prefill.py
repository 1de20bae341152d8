"""Which prompts, or pieces of them, the next step computes: none is left half done between two steps. Pure.

The pipeline could cut a long prompt into steps itself. But it files a block of its cache under all the tokens
that will be in it as soon as the first of them is computed: when a request leaves in between, later prompts
find a block that is partly empty. And two prompts that find the same unfinished block and go on differently
write over each other there. Both were seen to change texts. So a long prompt is computed in pieces that are
requests of their own, and the two prompts one after the other.
"""

from host.engines.prefix_cache import PrefixCache


class PrefillPlan:
    """The plan of one step, made by asking for each waiting prompt in turn."""

    def __init__(self, cache: PrefixCache, block_tokens: int, room: int, alone: bool = True) -> None:
        """`room`: tokens that the step can compute besides those of requests that generate. `alone`: none do,
        so that waiting would bring no blocks."""
        self._cache = cache
        self._block_tokens = block_tokens
        self._room = room
        self._unfinished: list[object] = []  # blocks that this step writes into
        self._empty = True
        self._alone = alone
        self._blocks = cache.blocks_spare

    def take(self, ids: list[int]) -> tuple[int, int]:
        """How many of a prompt's first ids to add now, 0 for none, and how many of them are cached."""
        cached, unfinished, in_use = self._cache.find(ids)
        # One more for what it generates, and one for the copy of an unfinished block that others use, too.
        blocks = -(-len(ids) // self._block_tokens) + 2 - in_use
        if blocks > self._blocks and not (self._alone and self._empty):
            return 0, cached
        if any(unfinished is other for other in self._unfinished):
            return 0, cached
        end = min(len(ids), cached + self._room)
        found_next_time = cached
        if end < len(ids):
            end -= end % self._block_tokens
            if unfinished is not None:  # it stays filed under what it holds now until a block follows it
                found_next_time += -cached % self._block_tokens
        if end <= found_next_time:  # the next step would be where this one is
            return 0, cached
        if unfinished is not None:
            self._unfinished.append(unfinished)
        self._empty = False
        self._blocks -= blocks
        self._room -= end - cached
        return end, cached
