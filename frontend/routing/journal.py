"""What one sequence was asked to be and what it has produced: all that is known of it outside its host."""

from enum import StrEnum

import msgspec

from ipc.messages import InlinePrompt, Sampling


class Phase(StrEnum):
    QUEUED = "queued"  # waits in the frontend
    SENT = "sent"  # with a host, not yet accepted
    GENERATING = "generating"
    ENDED = "ended"


class Journal(msgspec.Struct):
    """One sequence's record. Token ids are the model's; times are seconds on the monotonic clock."""

    prompt: InlinePrompt
    sampling: Sampling
    arrived_at: float
    phase: Phase = Phase.QUEUED
    prompt_tokens: int | None = None
    prompt_tail: str = ""  # what the chat template wrote last
    prompt_token_ids: list[int] = []  # where they were asked for
    cached_tokens: int = 0  # of the prompt, found in the KV cache
    token_ids: list[int] = []
    last_token_at: float | None = None
    deaths: int = 0  # of hosts that held it
    died_at: float | None = None  # when its host died, until the next token
