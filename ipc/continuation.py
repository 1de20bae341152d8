"""How generation goes on in a new host after tokens of an old one: one rule for both sides."""

from enum import StrEnum


class Continuation(StrEnum):
    BY_TEXT = "by_text"  # from the text so far: prompt + tokens as a new prompt
    BY_REPLAY = "by_replay"  # on hidden state too, which the same seed or greedy choice brings back
    NONE = "none"  # on chance that is gone


def continuation(
    *,
    greedy: bool,
    seeded: bool,
    presence_penalty: float,
    frequency_penalty: float,
    grammar: bool,
    images: bool = False,
) -> Continuation:
    """Penalties count generated tokens apart from those of a prompt, a seeded generator has a position, and
    a grammar begins where the prompt ends. The repetition penalty counts both alike.

    Vision models take text in place of tokens, so that the new prompt may differ in its tokens from what was
    generated. A greedy answer about images is therefore generated again and compared, and only continued from
    its text if it cannot be reproduced. With chance, one continuation of the text is as good as another.
    """
    if images and greedy:
        return Continuation.BY_REPLAY
    seeded = seeded and not greedy  # a greedy choice draws nothing
    if not (seeded or presence_penalty or frequency_penalty or grammar):
        return Continuation.BY_TEXT
    return Continuation.BY_REPLAY if greedy or seeded else Continuation.NONE
