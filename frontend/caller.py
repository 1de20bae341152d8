"""Who makes a request: what the access layer finds out, and what limits, queues and logs need of it."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

import msgspec

Scope = Literal["inference", "admin", "metrics"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))

Amount = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
_LATEST = ":latest"  # a tag that makes no difference


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one caller may use. None: no limit."""

    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = None  # of prompts and answers together
    max_concurrent: Amount | None = None  # requests that are being answered


class Caller(msgspec.Struct, frozen=True):
    """Never holds the secret itself."""

    key_id: str | None = None  # None: nobody had to say who they are
    scopes: frozenset[Scope] = SCOPES
    models: tuple[str, ...] | None = None  # names and patterns such as `qwen*`; None: all
    limits: Limits = Limits()
    weight: float = 1.0  # its share of a busy model, compared with other callers
    by_token: bool = False  # a token said who it is, not a key of this server
    until: float | None = None  # the end of that token, in Unix seconds
    is_batch: bool = False  # nobody waits for the answer: everybody else goes first

    def may_use(self, name: str) -> bool:
        """Whether a name of a model is in the list of this caller."""
        if self.models is None:
            return True
        bare = name.removesuffix(_LATEST)
        return any(fnmatchcase(bare, pattern.removesuffix(_LATEST)) for pattern in self.models)


ANYBODY = Caller()
STRANGER = Caller(scopes=frozenset(), models=())  # who shows no key where others have to
