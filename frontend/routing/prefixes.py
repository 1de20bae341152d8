"""Which replica has seen a prompt's beginning: its KV cache then holds the shared prefix."""

from collections import OrderedDict

from ipc.messages import ChatPrompt, Prompt, TextPrompt

BLOCK_CHARACTERS = 512
MAX_BLOCKS = 64  # of one prompt
_REMEMBERED_BLOCKS = 4096  # per replica


def prefix_blocks(prompt: Prompt) -> list[int]:
    """Hashes of the prompt's leading blocks, each covering all text before it."""
    if isinstance(prompt, ChatPrompt):
        text = "\0".join([prompt.tools, *(f"{m.role}\0{m.content}" for m in prompt.messages)])
    elif isinstance(prompt, TextPrompt):
        text = prompt.text
    else:
        text = " ".join(map(str, prompt.token_ids[: BLOCK_CHARACTERS * MAX_BLOCKS]))
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
