"""Tunes one model: throw-away hosts in alternating pairs, each change against the best so far."""

from collections.abc import Callable
from typing import Any

import msgspec

from bench.noise import Noise
from bench.stats import median
from bench.tuning import configuration as names
from bench.tuning.agreement import text_agreement, threshold, vector_agreement
from bench.tuning.candidates import Subject
from bench.tuning.configuration import Change, Configuration
from bench.tuning.search import Outcome, Search, Trial
from bench.tuning.verdict import GAIN, judge
from bench.tuning.workloads import RUN_SECONDS, Load, compared_works, sized, trial_load
from frontend.supervision.throwaway import HostFailed, ThrowawayHost
from ipc.messages import Launch

_FINAL_PAIRS = 5
_DEADLINE_SECONDS = 300.0  # of one run
_COMPARED_AT_ONCE = 4
_FALLBACK_CONTEXT = 512  # tokens, of a model that does not report it
_EXACT = {names.PRECISION: "f32", names.KV_PRECISION: "f32", names.GROUP: "0"}

Pair = tuple[float, float]  # speeds of the challenger and of the best


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to tune, and within which limits."""

    subject: Subject
    search: Search
    launch_of: Callable[[Configuration], Launch[Any]]
    seconds: float  # after which no new change is tried
    concurrency: int  # of throughput
    min_agreement: float
    run_seconds: float | None = None  # that one run should take; None: as the goal needs
    compared_tokens: int = 40  # of each text that is compared with one in full precision


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. Speeds are as Load.speed; `ratios` are winner ÷ start, one for each final pair."""

    search: Search
    load: Load
    winner: dict[str, names.Value]
    speed_before: float
    speed_after: float
    ratios: tuple[float, ...] = ()  # empty: nothing was accepted
    agreement_threshold: float | None = None  # None: nothing was compared
    agreement_before: float | None = None
    noise: float = 0.0  # the share of the machine that other processes used, 0 to 1
    seconds: float = 0.0
    complete: bool = True  # False: time ran out before all changes were tried

    @property
    def gain(self) -> float:
        return median(self.ratios) if self.ratios else 1.0

    @property
    def is_worth_keeping(self) -> bool:
        return self.gain >= GAIN


class _Contender:
    """A loaded host."""

    def __init__(self, plan: Plan, host: ThrowawayHost) -> None:
        self._subject = plan.subject
        self._compared = compared_works(plan.subject.task, plan.compared_tokens)
        self._host = host
        self.close = host.close

    @property
    def context(self) -> int:
        return int(getattr(self._host.card, "context_length", 0) or _FALLBACK_CONTEXT)

    async def speed(self, load: Load, seed: int) -> float:
        """Of one run. Raises HostFailed."""
        works = load.works(self._subject.task, seed)
        answers = await self._host.run(works, load.concurrency, _DEADLINE_SECONDS)
        return load.speed(self._subject.task, answers, self._subject.goal)

    async def results(self) -> list[Any]:
        """Of the works that are compared: token ids, or tensors. Raises HostFailed."""
        task = self._subject.task
        answers = await self._host.run(self._compared, _COMPARED_AT_ONCE, _DEADLINE_SECONDS)
        return [answer.token_ids if task == "text" else answer.payload for answer in answers]


class Tuner:
    """One tuning. `tell` hears a line about each trial; `clock` returns monotonic seconds."""

    def __init__(self, plan: Plan, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._plan = plan
        self._tell = tell
        self._clock = clock
        self._started = clock()
        self._seed = 0
        self._load: Load
        self._start_results: list[Any] = []
        self._exact_results: list[Any] = []
        self._exact_error = ""
        self._start_agreement: float | None = None

    async def run(self) -> Tuning:
        """Raises HostFailed if the model cannot be served as it is."""
        noise = Noise()
        search = self._plan.search
        self._tell("Loading the model and measuring it as it is")
        await self._compute_exact()
        best = await self._start(search.start)
        try:
            before = await self._calibrate(best)
            self._tell(f"As it is: {before:.1f} {unit_of(self._plan.subject)}/s")
            while (found := search.next()) and not self._is_late:
                trial, challenger = await self._try(best, search, *found)
                search = search.with_trial(trial)
                self._tell(describe(trial))
                if challenger is not None:
                    await best.close()
                    best = challenger
            pairs = await self._confirm(best, search)
        finally:
            await best.close()
        tuning = Tuning(
            search=search,
            load=self._load,
            winner=dict(search.best),
            speed_before=median([start for _, start in pairs]) if pairs else before,
            speed_after=median([winner for winner, _ in pairs]) if pairs else before,
            ratios=tuple(winner / start for winner, start in pairs),
            agreement_threshold=None if self._start_agreement is None else self._threshold,
            agreement_before=self._start_agreement,
            noise=noise.share(),
            seconds=self._clock() - self._started,
            complete=search.next() is None,
        )
        if tuning.is_worth_keeping:
            return tuning
        return msgspec.structs.replace(tuning, winner=dict(search.start))

    @property
    def _is_late(self) -> bool:
        return self._clock() - self._started > self._plan.seconds

    async def _start(self, configuration: Configuration) -> _Contender:
        """Raises HostFailed."""
        launch = self._plan.launch_of(configuration)
        host = ThrowawayHost(launch, launch.load_seconds)
        await host.start()
        return _Contender(self._plan, host)

    async def _calibrate(self, start: _Contender) -> float:
        """Choose the load of all runs. Returns the speed of the start. Raises HostFailed."""
        subject = self._plan.subject
        load = trial_load(subject, self._plan.concurrency, start.context)
        await start.speed(load, self._next_seed())  # warms up
        began = self._clock()
        await start.speed(load, self._next_seed())
        seconds = max(0.001, self._clock() - began)
        wanted = self._plan.run_seconds or RUN_SECONDS[subject.goal]
        self._load = sized(load, subject, wanted / seconds, start.context)
        self._start_results = await start.results()
        return await start.speed(self._load, self._next_seed())

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed

    async def _try(
        self, best: _Contender, search: Search, number: int, change: Change
    ) -> tuple[Trial, _Contender | None]:
        """One change, and its host if it was accepted. Raises HostFailed if the best host fails."""
        trial = Trial(round=number, change=change, outcome="failed")
        try:
            challenger = await self._start({**search.best, change.name: change.value})
        except HostFailed as failed:
            return msgspec.structs.replace(trial, reason=str(failed)), None
        accepted = False
        try:
            trial = await self._compare(best, challenger, search, trial)
            accepted = trial.outcome == "accepted"
        finally:
            if not accepted:
                await challenger.close()
        return trial, challenger if accepted else None

    async def _compare(self, best: _Contender, challenger: _Contender, search: Search, trial: Trial) -> Trial:
        pairs: list[Pair] = []
        agreement = None
        outcome: Outcome = "out of time"
        try:
            await challenger.speed(self._load, self._next_seed())  # warms up
            while (verdict := judge([new / old for new, old in pairs])) is None and not self._is_late:
                pairs.append(await self._pair(challenger, best, len(pairs)))
            if verdict is not None:
                outcome = "accepted" if verdict == "better" else "no gain"
            if outcome == "accepted" and search.changes_results(trial.change):
                agreement = await self._agreement(await challenger.results())
                if agreement < self._threshold:
                    outcome = "results differ"
        except _BestFailed as failed:
            raise HostFailed(str(failed)) from failed
        except HostFailed as failed:
            return msgspec.structs.replace(trial, outcome="failed", reason=str(failed))
        ratios = tuple(new / old for new, old in pairs)
        return msgspec.structs.replace(trial, outcome=outcome, ratios=ratios, agreement=agreement)

    async def _pair(self, challenger: _Contender, best: _Contender, number: int) -> Pair:
        """The same load on both, the other one first in every second pair."""
        seed = self._next_seed()
        new = 0.0
        if number % 2:
            new = await challenger.speed(self._load, seed)
        try:
            old = await best.speed(self._load, seed)
        except HostFailed as failed:
            raise _BestFailed(str(failed)) from failed
        return new or await challenger.speed(self._load, seed), old

    async def _agreement(self, results: list[Any]) -> float:
        """Raises HostFailed if there is nothing to compare with."""
        if not self._exact_results:
            raise HostFailed(f"no results in full precision to compare with: {self._exact_error}")
        if self._start_agreement is None:
            self._start_agreement = self._with_exact(self._start_results)
        return self._with_exact(results)

    async def _compute_exact(self) -> None:
        """Before anything else is loaded, so that no more than two copies of the model are at a time."""
        if not any(knob.changes_results for knob in self._plan.search.knobs):
            return
        try:
            exact = await self._start({**self._plan.search.start, **self._exact_properties})
        except HostFailed as failed:
            self._exact_error = str(failed)
            return
        try:
            self._exact_results = await exact.results()
        except HostFailed as failed:
            self._exact_error = str(failed)
        finally:
            await exact.close()

    @property
    def _exact_properties(self) -> dict[str, str]:
        known = {*self._plan.subject.device.properties}
        if self._plan.subject.task == "text":
            known.add(names.KV_PRECISION)
        return {name: value for name, value in _EXACT.items() if name in known}

    def _with_exact(self, results: list[Any]) -> float:
        compare: Callable[[Any, Any], float] = (
            text_agreement if self._plan.subject.task == "text" else vector_agreement
        )
        return compare(self._exact_results, results)

    @property
    def _threshold(self) -> float:
        return threshold(
            self._plan.min_agreement, 1.0 if self._start_agreement is None else self._start_agreement
        )

    async def _confirm(self, best: _Contender, search: Search) -> list[Pair]:
        """The winner against the start."""
        if search.best == search.start:
            return []
        self._tell("Comparing the winner with the start")
        start = await self._start(search.start)
        try:
            await start.speed(self._load, self._next_seed())  # warms up
            return [await self._pair(best, start, number) for number in range(_FINAL_PAIRS)]
        finally:
            await start.close()


class _BestFailed(Exception):
    """The host that was accepted before has failed: there is nothing to compare with."""


def unit_of(subject: Subject) -> str:
    """That of the speeds, per second."""
    if subject.task == "text":
        return "prompt tokens" if subject.goal == "prefill" else "tokens"
    return "texts" if subject.task == "embeddings" else "documents"


def describe(trial: Trial) -> str:
    """One line about a trial."""
    ratio = f" {median(trial.ratios):.2f} ×" if trial.ratios else ""
    reason = f": {trial.reason}" if trial.reason else ""
    return f"{trial.change.text}:{ratio} {trial.outcome}{reason}"
