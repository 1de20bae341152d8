"""When a host counts as hung, by its page and our ticks."""

from collections.abc import Callable
from functools import partial
from itertools import count, repeat

from frontend.supervision.watchdog import STARTUP_SECONDS, TICK_SECONDS, Stall, Watchdog
from ipc.cpu_wait import PATIENCE
from ipc.progress import Phase, Progress

CAPS = {Phase.STARTING: 60.0, Phase.LOADING: 600.0, Phase.IDLE: 5.0, Phase.STEP: 30.0}


def page(phase: Phase, beat: int, budget: float) -> Progress:
    return Progress(phase, beat, 1000.0, 1000.0 + budget)


def watchdog_of(cpu_wait: Callable[[], float] = lambda: 0.0) -> Watchdog:
    return Watchdog(CAPS, cpu_wait)


def seconds_until_stalled(watchdog: Watchdog, progress: Progress | None, tick: float = TICK_SECONDS) -> float:
    return stall_of(watchdog, progress, tick)[1]


def stall_of(
    watchdog: Watchdog, progress: Progress | None, tick: float = TICK_SECONDS
) -> tuple[Stall, float]:
    """Why and after how many seconds a page that stands still is a stall."""
    ticks = 1
    while (stall := watchdog.stalled(progress, tick)) is None:
        ticks += 1
        assert ticks < 10_000, "never"
    return stall, ticks * tick


def test_a_page_that_stands_still_past_its_budget_is_a_stall():
    assert 5 <= seconds_until_stalled(watchdog_of(), page(Phase.IDLE, 1, 5.0)) <= 6


def test_each_beat_starts_anew():
    watchdog = watchdog_of()
    assert not any(watchdog.stalled(page(Phase.STEP, beat, 1.0), TICK_SECONDS) for beat in range(100))


def test_a_host_cannot_give_itself_more_than_its_phase_may_have():
    assert seconds_until_stalled(watchdog_of(), page(Phase.STEP, 1, 1e9)) <= 31


def test_a_load_may_take_its_own_budget():
    assert seconds_until_stalled(watchdog_of(), page(Phase.LOADING, 1, 600.0)) > 599


def test_a_host_that_never_writes_is_noticed():
    assert seconds_until_stalled(watchdog_of(), page(Phase.STARTING, 0, 0.0)) <= STARTUP_SECONDS + 1


def test_a_writer_that_died_in_mid_write_is_noticed():
    assert seconds_until_stalled(watchdog_of(), None) <= 6


def test_a_suspended_machine_kills_nobody():
    watchdog = watchdog_of()
    beaten = page(Phase.STEP, 1, 30.0)
    watchdog.stalled(beaten, TICK_SECONDS)
    assert not watchdog.stalled(beaten, 3600.0)  # the machine slept an hour between two ticks


def test_time_without_a_cpu_does_not_count():
    starved = watchdog_of(lambda: 0.8 * TICK_SECONDS)
    stall, seconds = stall_of(starved, page(Phase.IDLE, 1, 5.0))
    assert stall is Stall.HUNG
    assert 25 <= seconds <= 26  # a fifth of the time is five seconds


def test_a_host_that_hardly_computes_is_killed_without_proof_after_ten_times_its_budget():
    for waits in (repeat(TICK_SECONDS), repeat(1e9)):
        stall, seconds = stall_of(watchdog_of(partial(next, waits)), page(Phase.IDLE, 1, 5.0))
        assert stall is Stall.STARVED
        assert PATIENCE * 5 <= seconds <= PATIENCE * 5 + 1


def test_what_a_host_waited_before_it_stood_still_is_forgotten():
    waits = iter([100.0])
    watchdog = watchdog_of(lambda: next(waits, 0.0))
    for beat in range(4):
        assert watchdog.stalled(page(Phase.IDLE, beat, 5.0), TICK_SECONDS) is None
    _, seconds = stall_of(watchdog, page(Phase.IDLE, 3, 5.0))
    assert seconds <= 6


def test_the_waits_are_read_only_while_a_page_stands_still():
    waits = count()
    watchdog = watchdog_of(partial(next, waits))
    for beat in range(100):
        watchdog.stalled(page(Phase.STEP, beat, 1.0), TICK_SECONDS)
    assert next(waits) == 0
