"""A world in which the policy's actions come true after a while, for histories without processes."""

from frontend.residency.policy import advance
from frontend.residency.state import (
    Action,
    Added,
    BecameReady,
    Close,
    Event,
    Gone,
    Limits,
    Load,
    LoadFailed,
    Phase,
    Refuse,
    Reopen,
    Residency,
    Resident,
    Stop,
    Tick,
    Wake,
    Worked,
)

LOAD_SECONDS = 3.0
STOP_SECONDS = 0.5


class World:
    """Models whose hosts load and stop in constant times, and requests that run until they are ended."""

    def __init__(self, limits: Limits, *models: Resident) -> None:
        self.now = 100.0
        self.state = Residency(limits)
        self.actions: list[Action] = []  # all so far, except Wake
        self.refused: list[Refuse] = []
        self.closed: set[str] = set()
        self.waiting = {model.name: 0 for model in models}
        self.running = {model.name: 0 for model in models}
        self._due: list[tuple[float, Event]] = []
        self._wake: float | None = None
        for model in models:
            self.tell(Added(model))

    def phase(self, name: str) -> Phase:
        return self.state.models[name].phase

    @property
    def loads(self) -> list[str]:
        return [action.name for action in self.actions if isinstance(action, Load)]

    @property
    def stops(self) -> list[str]:
        return [action.name for action in self.actions if isinstance(action, Stop)]

    def tell(self, event: Event) -> list[Action]:
        """What an event makes us do, which is done."""
        self.state, actions = advance(self.state, event, self.now)
        self._wake = None
        for action in actions:
            self._perform(action)
        self.check()
        for name in self.state.models:
            self._dispatch(name)
        return actions

    def _perform(self, action: Action) -> None:
        if isinstance(action, Wake):
            self._wake = action.at
            return
        self.actions.append(action)
        match action:
            case Load():
                self._due.append((self.now + LOAD_SECONDS, BecameReady(action.name)))
            case Close():
                self.closed.add(action.name)
            case Reopen():
                self.closed.discard(action.name)
            case Stop():
                assert not self.running[action.name], "a busy model was stopped"
                self._due = [(at, e) for at, e in self._due if getattr(e, "name", "") != action.name]
                self._due.append((self.now + STOP_SECONDS, Gone(action.name)))
            case Refuse():
                self.refused.append(action)
                self.waiting[action.name] = 0
                self._report(action.name)

    def ask(self, name: str) -> None:
        """A request arrives."""
        self.waiting[name] += 1
        self._report(name)

    def leave(self, name: str) -> None:
        """A request that waits is given up."""
        self.waiting[name] -= 1
        self._report(name)

    def finish(self, name: str) -> None:
        """A request that runs ends."""
        self.running[name] -= 1
        self._report(name)

    def fail(self, name: str, out_of_memory: bool = False) -> None:
        """If it loads, that fails; unless it is tried again, what waits is answered."""
        if self.phase(name) is not Phase.LOADING:
            return
        self._due = [(at, e) for at, e in self._due if getattr(e, "name", "") != name]
        self.tell(LoadFailed(name, out_of_memory))
        if not self.state.models[name].retried:
            self.waiting[name] = 0
            self._report(name)

    def _dispatch(self, name: str) -> None:
        if self.phase(name) is Phase.READY and name not in self.closed and self.waiting[name]:
            self.running[name] += self.waiting[name]
            self.waiting[name] = 0
            self._report(name)

    def _report(self, name: str) -> None:
        model = self.state.models[name]
        work = bool(self.waiting[name]), bool(self.running[name])
        if (model.waiting, model.running) != work:
            self.tell(Worked(name, *work))
        self._dispatch(name)

    def pass_time(self, seconds: float) -> None:
        """Everything that is due within that time happens, in order."""
        end = self.now + seconds
        while True:
            times = [at for at, _ in self._due] + ([self._wake] if self._wake is not None else [])
            at = min(times, default=end + 1)
            if at > end:
                break
            self.now = max(self.now, at)
            due = next(((t, e) for t, e in self._due if t <= self.now), None)
            if due is None:
                self.tell(Tick())
                continue
            self._due.remove(due)
            if isinstance(due[1], Gone):
                self.closed.discard(due[1].name)
            self.tell(due[1])
        self.now = end

    def check(self) -> None:
        """What holds at any time."""
        limits, models = self.state.limits, self.state.models.values()
        loaded = [model for model in models if model.phase is not Phase.UNLOADED]
        assert not limits.max_loaded or len(loaded) <= limits.max_loaded
        for device, budget in limits.budgets.items():
            assert sum(model.bytes for model in loaded if model.device == device) <= budget
