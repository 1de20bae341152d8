"""Buckets and accounts, with a clock that the test turns."""

import pytest

from frontend.caller import ANYBODY, Caller, Limits
from frontend.config import Settings
from frontend.errors import RateLimited
from frontend.limits.bucket import Bucket
from frontend.limits.quotas import Level, Quotas


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def quotas_of(**settings: int) -> tuple[Quotas, Clock]:
    clock = Clock()
    quotas = Quotas(clock)
    quotas.follow(Settings(**settings))  # type: ignore[arg-type]
    return quotas, clock


def key(name: str, **limits: int) -> Caller:
    return Caller(key_id=name, limits=Limits(**limits))


def begun(quotas: Quotas, caller: Caller, attempts: int) -> int:
    """How many of these requests are let in."""
    count = 0
    for _ in range(attempts):
        try:
            quotas.begin(caller)
        except RateLimited:
            continue
        count += 1
    return count


def test_a_bucket_holds_a_minutes_worth_and_refills_evenly():
    bucket = Bucket(60, 0.0)
    bucket.take(60, 0.0)
    assert bucket.wait(1, 0.0) == pytest.approx(1.0)
    assert bucket.level(30.0) == pytest.approx(30)
    assert bucket.level(1000.0) == 60
    bucket.take(90, 1000.0)
    assert bucket.wait(1, 1000.0) == pytest.approx(31.0)
    bucket.take(-1000, 1000.0)
    assert bucket.level(1000.0) == 60


def test_a_new_size_leaves_used_what_is_used():
    bucket = Bucket(10, 0.0)
    bucket.take(6, 0.0)
    bucket.resize(100, 0.0)
    assert bucket.level(0.0) == 94
    bucket.resize(5, 0.0)
    assert bucket.level(0.0) == -1


def test_keys_with_different_limits_get_exactly_what_they_may():
    quotas, clock = quotas_of(requests_per_minute=5)
    callers = {
        key("two", requests_per_minute=2): 2,
        key("seven", requests_per_minute=7): 7,
        key("default"): 5,
        ANYBODY: 5,
    }
    assert {caller: begun(quotas, caller, 20) for caller in callers} == callers
    clock.now += 30
    assert begun(quotas, key("two", requests_per_minute=2), 20) == 1
    clock.now += 600
    assert {caller: begun(quotas, caller, 20) for caller in callers} == callers


def test_the_servers_limit_holds_for_all_together():
    quotas, _ = quotas_of(total_requests_per_minute=5)
    assert [begun(quotas, key(name), 3) for name in "abc"] == [3, 2, 0]


def test_a_refused_request_takes_nothing():
    quotas, _ = quotas_of(requests_per_minute=3, total_max_concurrent=1)
    end = quotas.begin(key("a"))
    assert begun(quotas, key("a"), 10) == 0
    end()
    assert quotas.levels(key("a"))[0].remaining == 2


def test_as_many_at_a_time_as_allowed():
    quotas, _ = quotas_of(max_concurrent=2)
    first, _second = quotas.begin(key("a")), quotas.begin(key("a"))
    with pytest.raises(RateLimited, match="2 requests answered at a time") as refusal:
        quotas.begin(key("a"))
    assert (refusal.value.type, refusal.value.retry_after) == ("concurrency", 1)
    quotas.begin(key("b"))
    first()
    quotas.begin(key("a"))


def test_a_refusal_states_when_to_try_again():
    quotas, clock = quotas_of(requests_per_minute=4)
    begun(quotas, ANYBODY, 4)
    clock.now += 0.5
    with pytest.raises(RateLimited, match=r"4 requests per minute; try again in 14\.5 s") as refusal:
        quotas.begin(ANYBODY)
    assert refusal.value.retry_after == 15
    assert refusal.value.headers == {"Retry-After-Ms": "14500"}
    clock.now += 14.5
    quotas.begin(ANYBODY)


def test_tokens_are_taken_as_estimated_and_corrected():
    quotas, clock = quotas_of(tokens_per_minute=600)
    assert quotas.reserve(ANYBODY, 400, 0) == 400
    with pytest.raises(RateLimited) as refusal:
        quotas.reserve(ANYBODY, 300, 0)
    assert (refusal.value.type, refusal.value.retry_after) == ("tokens", 10)
    quotas.use(ANYBODY, 100 - 400)
    assert quotas.levels(ANYBODY) == [Level("tokens", 600, 500, 10.0)]
    quotas.use(ANYBODY, 700)
    assert quotas.levels(ANYBODY)[0].remaining == 0
    clock.now += 20
    with pytest.raises(RateLimited):
        quotas.reserve(ANYBODY, 1, 0)
    clock.now += 0.2
    quotas.reserve(ANYBODY, 1, 0)


def test_what_can_never_fit_is_not_to_be_tried_again():
    quotas, _ = quotas_of(tokens_per_minute=100)
    with pytest.raises(RateLimited, match=r"up to 101; shorten .* never be accepted") as refusal:
        quotas.reserve(ANYBODY, 101, 0)
    assert refusal.value.retry_after is None
    assert refusal.value.headers == {"X-Should-Retry": "false"}
    assert quotas.reserve(ANYBODY, 10, 256) == 100, "what is only assumed takes what there is"


@pytest.mark.parametrize("name", ["requests_per_minute", "max_concurrent", "tokens_per_minute"])
def test_a_limit_of_zero_lets_nothing_in(name):
    quotas, _ = quotas_of()
    with pytest.raises(RateLimited, match="never"):
        quotas.begin(key("a", **{name: 0}))
        quotas.reserve(key("a", **{name: 0}), 1, 0)


def test_without_limits_nothing_is_counted():
    quotas, _ = quotas_of()
    assert begun(quotas, key("a"), 100) == 100
    assert quotas.levels(key("a")) == []
    assert not quotas._accounts


def test_accounts_that_hold_nothing_are_dropped():
    quotas, clock = quotas_of(requests_per_minute=60)
    end = quotas.begin(key("stays"))
    for number in range(5000):
        quotas.begin(key(f"subject{number}"))()
        clock.now += 1
    assert len(quotas._accounts) <= 1100
    assert "stays" in quotas._accounts
    end()


def test_changed_settings_are_followed():
    quotas, _ = quotas_of(requests_per_minute=5)
    assert begun(quotas, ANYBODY, 10) == 5
    quotas.follow(Settings(requests_per_minute=7))
    assert begun(quotas, ANYBODY, 10) == 2
    quotas.follow(Settings())
    assert begun(quotas, ANYBODY, 10) == 10


def test_refusals_are_reported_by_owner_and_kind():
    quotas, _ = quotas_of(requests_per_minute=1, total_tokens_per_minute=10)
    seen: list[tuple[str, str]] = []
    quotas.refused = lambda owner, kind: seen.append((owner, kind))
    begun(quotas, ANYBODY, 2)
    with pytest.raises(RateLimited):
        quotas.reserve(ANYBODY, 11, 0)
    assert seen == [("caller", "requests"), ("server", "tokens")]
