"""What each caller has used of its limits, and all callers together of the server's limits.

A request counts against the requests per minute when it arrives, and as concurrent until its answer ends. A
job takes its estimated tokens before it is queued; when it ends, however it does, the difference from what it
really used is taken or given back (`tokens.py`).
"""

import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal

import msgspec

from frontend.caller import Caller, Limits
from frontend.config import Settings
from frontend.errors import RateLimited
from frontend.limits.bucket import Bucket

Kind = Literal["requests", "tokens", "concurrency"]
Owner = Literal["caller", "server"]
_KEPT = 1024  # accounts, before those that hold nothing are looked for
_MERGED = 1024  # maximum number of cached combinations
_UNLIMITED = Limits()
_RETRY_SECONDS = 1.0  # nobody knows when a running request ends


class Account:
    """One caller's, or the server's."""

    def __init__(self, owner: Owner, limits: Limits, now: float) -> None:
        self.owner: Owner = owner
        self.limits = Limits()
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.running = 0
        self.follow(limits, now)

    def follow(self, limits: Limits, now: float) -> None:
        if limits != self.limits:
            self.limits = limits
            self.requests = _resized(self.requests, limits.requests_per_minute, now)
            self.tokens = _resized(self.tokens, limits.tokens_per_minute, now)

    def is_idle(self, now: float) -> bool:
        """Whether it equals a new account, so that it need not be kept."""
        buckets = [bucket for bucket in (self.requests, self.tokens) if bucket is not None]
        return not self.running and all(bucket.level(now) >= bucket.size for bucket in buckets)


def _resized(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return Bucket(per_minute, now)
    bucket.resize(per_minute, now)
    return bucket


class Level(msgspec.Struct, frozen=True):
    """Of one limit, for the headers of answers."""

    kind: Kind
    limit: int
    remaining: int
    reset_seconds: float  # until the whole limit is available again


class Quotas:
    """All accounts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.refused: Callable[[Owner, Kind], None] = lambda _owner, _kind: None  # for metrics
        self._clock = clock
        self._default = Limits()  # of callers without limits of their own
        self._server = Account("server", Limits(), clock())
        self._accounts: dict[str | None, Account] = {}
        self._look_at = _KEPT

    def follow(self, settings: Settings) -> None:
        """Apply these settings from now on; what is used stays used."""
        self._default = Limits(
            settings.requests_per_minute, settings.tokens_per_minute, settings.max_concurrent
        )
        total = Limits(
            settings.total_requests_per_minute,
            settings.total_tokens_per_minute,
            settings.total_max_concurrent,
        )
        self._server.follow(total, self._clock())

    def begin(self, caller: Caller) -> Callable[[], None]:
        """A request arrives. Returns what is to be called when its answer has ended.

        Raises RateLimited, and takes nothing then.
        """
        now = self._clock()
        accounts = list(self._of(caller, now))
        for account in accounts:
            self._check_concurrency(account)
            if account.requests is not None:
                self._check(account, "requests", account.requests, 1, now)
        for account in accounts:
            account.running += 1
            if account.requests is not None:
                account.requests.take(1, now)

        def end() -> None:
            for account in accounts:
                account.running -= 1

        return end

    def max_concurrent(self, caller: Caller) -> int | None:
        """How many requests of this caller may be answered at a time; None: no limit."""
        limits = [account.limits.max_concurrent for account in self._of(caller, self._clock())]
        return min((most for most in limits if most is not None), default=None)

    def limits_tokens(self, caller: Caller) -> bool:
        return any(account.tokens is not None for account in self._of(caller, self._clock()))

    def reserve(self, caller: Caller, certain: int, assumed: int) -> int:
        """Take the tokens of work before it begins: all the `certain` ones, which the request states, and as
        many of the `assumed` ones as the limits can hold. Returns the number taken. Raises RateLimited, and
        takes nothing then."""
        now = self._clock()
        accounts = [(account, account.tokens) for account in self._of(caller, now)]
        sizes = [bucket.size for _, bucket in accounts if bucket is not None]
        amount = max(certain, min([certain + assumed, *sizes]))
        for account, bucket in accounts:
            if bucket is not None:
                self._check(account, "tokens", bucket, amount, now)
        self.use(caller, amount)
        return amount

    def use(self, caller: Caller, tokens: int) -> None:
        """Take tokens that were used; a negative number gives back what was not."""
        now = self._clock()
        for account in self._of(caller, now):
            if account.tokens is not None:
                account.tokens.take(tokens, now)

    def levels(self, caller: Caller) -> list[Level]:
        """What the caller has left, or where it has no limit, what the server has."""
        now = self._clock()
        shown: dict[Kind, Level] = {}
        for account in self._of(caller, now):
            buckets: list[tuple[Kind, Bucket | None]] = [
                ("requests", account.requests),
                ("tokens", account.tokens),
            ]
            for kind, bucket in buckets:
                if bucket is not None and kind not in shown:
                    left = max(0, int(bucket.level(now) + 1e-9))
                    shown[kind] = Level(kind, bucket.size, left, bucket.until_full(now))
        return list(shown.values())

    def _of(self, caller: Caller, now: float) -> Iterator[Account]:
        """The accounts that a caller's work is charged to: its own first."""
        limits = _merged(caller.limits, self._default)
        if limits != _UNLIMITED:
            account = self._accounts.get(caller.key_id)
            if account is None:
                self._drop_idle(now)
                account = self._accounts[caller.key_id] = Account("caller", limits, now)
            account.follow(limits, now)
            yield account
        if self._server.limits != _UNLIMITED:
            yield self._server

    def _drop_idle(self, now: float) -> None:
        if len(self._accounts) >= self._look_at:
            held = {key: account for key, account in self._accounts.items() if not account.is_idle(now)}
            self._accounts = held
            self._look_at = max(_KEPT, 2 * len(held))

    def _check_concurrency(self, account: Account) -> None:
        most = account.limits.max_concurrent
        if most is not None and account.running >= most:
            what = f"{_who(account)} may have {most} requests answered at a time"
            raise self._refusal(account, "concurrency", what, _RETRY_SECONDS if most else None)

    def _check(self, account: Account, kind: Kind, bucket: Bucket, amount: int, now: float) -> None:
        asked = f", and this request may use up to {amount}" if kind == "tokens" else ""
        what = f"{_who(account)} may use {bucket.size} {kind} per minute{asked}"
        if amount > bucket.size:
            remedy = "; shorten the prompt or lower its maximum number of output tokens" if asked else ""
            raise self._refusal(account, kind, what + remedy, None)
        if wait := bucket.wait(amount, now):
            raise self._refusal(account, kind, what, wait)

    def _refusal(self, account: Account, kind: Kind, what: str, wait: float | None) -> RateLimited:
        self.refused(account.owner, kind)
        return RateLimited(what if wait is not None else f"{what}; it will never be accepted", kind, wait)


def _who(account: Account) -> str:
    return "this caller" if account.owner == "caller" else "this server's clients together"


@lru_cache(_MERGED)
def _merged(own: Limits, default: Limits) -> Limits:
    """Each limit that a caller does not have is the default's."""
    values = {
        name: getattr(default if getattr(own, name) is None else own, name)
        for name in Limits.__struct_fields__
    }
    return Limits(**values)
