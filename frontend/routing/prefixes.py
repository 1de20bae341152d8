"""Which replica has seen the beginning of an input: its cache then holds the shared prefix."""

from collections import OrderedDict

BLOCK_CHARACTERS = 512
MAX_BLOCKS = 64  # of one input
_REMEMBERED_BLOCKS = 4096  # per replica


def prefix_blocks(text: str) -> list[int]:
    """Hashes of a text's leading blocks, each covering all text before it."""
    hashes: list[int] = []
    running = 0
    for start in range(0, min(len(text), BLOCK_CHARACTERS * MAX_BLOCKS), BLOCK_CHARACTERS):
        running = hash((running, text[start : start + BLOCK_CHARACTERS]))
        hashes.append(running)
    return hashes


class PrefixMemory:
    """The blocks one host incarnation has lately prefilled, least recently used forgotten first."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def matching(self, blocks: list[int]) -> int:
        """How many leading blocks are known."""
        for count, block in enumerate(blocks):
            if block not in self._blocks:
                return count
        return len(blocks)

    def remember(self, blocks: list[int]) -> None:
        for block in blocks:
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > _REMEMBERED_BLOCKS:
            self._blocks.popitem(last=False)

    def forget(self) -> None:
        self._blocks.clear()
