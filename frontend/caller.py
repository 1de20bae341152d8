"""Who makes a request: what the access layer finds out, and what limits, queues and logs need of it."""

from typing import Literal

import msgspec

Scope = Literal["inference", "admin", "metrics"]
SCOPES: frozenset[Scope] = frozenset(("inference", "admin", "metrics"))


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one caller may use. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # of prompts and answers together
    max_concurrent: int | None = None  # requests that are being answered


class Caller(msgspec.Struct, frozen=True):
    """Never holds the secret itself."""

    key_id: str | None = None  # None: nobody had to say who they are
    scopes: frozenset[Scope] = SCOPES
    models: tuple[str, ...] | None = None  # names and patterns such as `qwen*`; None: all
    limits: Limits = Limits()
    weight: float = 1.0  # its share of a busy model, compared with other callers
    is_batch: bool = False  # nobody waits for the answer: everybody else goes first


ANYBODY = Caller()
