"""A greedy search, one setting after another: what to try next, given the trials so far. Pure.

The engine's defaults are tried first for what the start sets: if the start is slow, that is the likeliest
reason, and a few trials then find most of the gain, even if there is little time.
"""

from typing import Literal

import msgspec

from bench.stats import median
from bench.tuning.configuration import Change, Configuration, Knob

Outcome = Literal["accepted", "no gain", "results differ", "failed", "out of time"]

_ROUNDS = (1, 2)
_PROMISING = 0.97  # a change that was slower than this in the first round is not tried again


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One change against the best configuration at that time. `ratios` are speeds, changed ÷ unchanged."""

    round: int
    change: Change
    outcome: Outcome
    ratios: tuple[float, ...] = ()
    agreement: float | None = None  # with full precision, 0 to 1; None: not looked at
    reason: str = ""  # of a failure


class Search(msgspec.Struct, frozen=True):
    """A search and its history."""

    knobs: tuple[Knob, ...]
    start: Configuration
    trials: tuple[Trial, ...] = ()

    @property
    def best(self) -> Configuration:
        """The start with all accepted changes."""
        accepted = (trial.change for trial in self.trials if trial.outcome == "accepted")
        return {**self.start, **{change.name: change.value for change in accepted}}

    def with_trial(self, trial: Trial) -> "Search":
        return msgspec.structs.replace(self, trials=(*self.trials, trial))

    def next(self) -> tuple[int, Change] | None:
        """The next change to try, with its round; None: there is nothing left.

        The second round tries again what came before the last accepted change, which may have made it worth
        while: all but what was clearly slower or failed.
        """
        best, closed = self.best, self._compared()
        for number in _ROUNDS:
            for change in self._left_to_the_engine_first() if number == 1 else self._changes_again():
                if best[change.name] == change.value or (number, change) in closed:
                    continue
                if number == 1 or self._is_promising(change):
                    return number, change
        return None

    def changes_results(self, change: Change) -> bool:
        return any(knob.changes_results for knob in self.knobs if knob.name == change.name)

    def _left_to_the_engine_first(self) -> list[Change]:
        changes = [Change(knob.name, value) for knob in self.knobs for value in knob.values]
        return sorted(changes, key=lambda change: change.value is not None)  # stable

    def _changes_again(self) -> list[Change]:
        """Other settings' values that took part in round 1, but not since its last accepted change."""
        first = [trial for trial in self.trials if trial.round == 1]
        accepted = [index for index, trial in enumerate(first) if trial.outcome == "accepted"]
        if not accepted:
            return []
        last = accepted[-1]
        before = {trial.change.name for trial in first[:last]} - {first[last].change.name}
        since = {trial.change for trial in first[last:]}
        changes = [Change(knob.name, value) for knob in self.knobs for value in knob.values]
        return [change for change in changes if change.name in before and change not in since]

    def _compared(self) -> set[tuple[int, Change]]:
        """What took part in a comparison in each round: what was tried, and what was the best then."""
        compared = set()
        best = dict(self.start)
        for trial in self.trials:
            change = trial.change
            compared |= {(trial.round, change), (trial.round, Change(change.name, best[change.name]))}
            if trial.outcome == "accepted":
                best[change.name] = change.value
        return compared

    def _is_promising(self, change: Change) -> bool:
        return all(_was_close(trial) for trial in self.trials if trial.change == change)


def _was_close(trial: Trial) -> bool:
    was_measured = trial.outcome in ("no gain", "accepted") and bool(trial.ratios)
    return was_measured and median(trial.ratios) >= _PROMISING
