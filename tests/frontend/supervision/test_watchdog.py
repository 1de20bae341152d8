"""When a host counts as hung, by its page and our ticks."""

from frontend.supervision.watchdog import STARTUP_SECONDS, TICK_SECONDS, Watchdog
from ipc.progress import Phase, Progress

CAPS = {Phase.STARTING: 60.0, Phase.LOADING: 600.0, Phase.IDLE: 5.0, Phase.STEP: 30.0}


def page(phase: Phase, beat: int, budget: float) -> Progress:
    return Progress(phase, beat, 1000.0, 1000.0 + budget)


def seconds_until_stalled(watchdog: Watchdog, progress: Progress | None, tick: float = TICK_SECONDS) -> float:
    ticks = 1
    while not watchdog.stalled(progress, tick):
        ticks += 1
        assert ticks < 10_000, "never"
    return ticks * tick


def test_a_page_that_stands_still_past_its_budget_is_a_stall():
    assert 5 <= seconds_until_stalled(Watchdog(CAPS), page(Phase.IDLE, 1, 5.0)) <= 6


def test_each_beat_starts_anew():
    watchdog = Watchdog(CAPS)
    assert not any(watchdog.stalled(page(Phase.STEP, beat, 1.0), TICK_SECONDS) for beat in range(100))


def test_a_host_cannot_give_itself_more_than_its_phase_may_have():
    assert seconds_until_stalled(Watchdog(CAPS), page(Phase.STEP, 1, 1e9)) <= 31


def test_a_load_may_take_its_own_budget():
    assert seconds_until_stalled(Watchdog(CAPS), page(Phase.LOADING, 1, 600.0)) > 599


def test_a_host_that_never_writes_is_noticed():
    assert seconds_until_stalled(Watchdog(CAPS), page(Phase.STARTING, 0, 0.0)) <= STARTUP_SECONDS + 1


def test_a_writer_that_died_in_mid_write_is_noticed():
    assert seconds_until_stalled(Watchdog(CAPS), None) <= 6


def test_a_suspended_machine_kills_nobody():
    watchdog = Watchdog(CAPS)
    beaten = page(Phase.STEP, 1, 30.0)
    watchdog.stalled(beaten, TICK_SECONDS)
    assert not watchdog.stalled(beaten, 3600.0)  # the machine slept an hour between two ticks
