"""Which models are loaded, as a pure function: (residency, event, now) → (residency, actions).

UNLOADED → LOADING → READY → (CLOSING →) STOPPING → UNLOADED

Models are loaded in the order in which they were wanted, as room permits. Room is made by unloading idle
models, the least recently used first; pinned ones stay. A busy model is never interrupted. If only busy
models are in the way, one of them is closed after a bounded wait: it gets nothing new, finishes what runs,
and leaves. What waits for it then gets it loaded again in its turn.
"""

from msgspec.structs import replace

from frontend.residency import room
from frontend.residency.state import (
    Action,
    Added,
    BecameReady,
    Close,
    Demanded,
    Event,
    Gone,
    KeptAlive,
    Limited,
    Load,
    LoadFailed,
    Measured,
    Phase,
    Pinned,
    Reason,
    Redefined,
    Refuse,
    Released,
    Removed,
    Reopen,
    Residency,
    Resident,
    Started,
    Stop,
    Tick,
    Wake,
    Worked,
)

_RETRY_LIMIT_SECONDS = 60.0  # between loads that fail, if requests ask for them


def advance(state: Residency, event: Event, now: float) -> tuple[Residency, list[Action]]:
    """What follows from `event`. Events about unknown models, or that make no sense, change nothing."""
    actions: list[Action] = []
    match event:
        case Tick():
            pass
        case Limited():
            state = Residency(event.limits, state.models)
        case Added():
            state = _with(state, replace(event.model, changed_at=now, idle_at=now))
        case Removed():
            models = {name: model for name, model in state.models.items() if name != event.name}
            state = Residency(state.limits, models)
        case _ if event.name in state.models:
            state, actions = _about_one(state, state.models[event.name], event, now)
    return _settle(state, actions, now)


def _about_one(state: Residency, model: Resident, event: Event, now: float) -> tuple[Residency, list[Action]]:
    match event:
        case LoadFailed(out_of_memory=True) if model.phase is Phase.LOADING and not model.retried:
            return _retry(state, model, now)
        case LoadFailed() if model.phase in (Phase.LOADING, Phase.READY):
            model, actions = _failed(model, event, now)
        case Released():
            model, actions = _released(model, now)
        case _:
            model, actions = _noted(model, event, now), []
    return _with(state, model), actions


def _noted(model: Resident, event: Event, now: float) -> Resident:
    """Events that are facts, from which nothing follows for this model alone."""
    match event:
        case Worked():
            return _worked(model, event, now)
        case Demanded():
            return replace(model, demanded=event.demanded and model.phase is not Phase.READY)
        case BecameReady() if model.phase is Phase.LOADING:
            return _ready(model, event, now)
        case Started():
            return _started(model, now)
        case Gone() if model.phase is not Phase.UNLOADED:
            return replace(model, phase=Phase.UNLOADED, changed_at=now)
        case Pinned():
            return replace(model, pinned=event.pinned)
        case KeptAlive():
            return replace(model, keep_alive=event.seconds)
        case Measured():
            return replace(model, bytes=event.bytes)
        case Redefined():
            return replace(
                model,
                device=event.device,
                bytes=event.bytes,
                pinned=event.pinned,
                keep_alive=event.keep_alive,
                failures=0,
                again_after=0.0,
            )
    return model


def _started(model: Resident, now: float) -> Resident:
    if model.phase is Phase.UNLOADED:
        return replace(model, phase=Phase.LOADING, persistent=True, changed_at=now, wanted_at=None)
    if model.phase in (Phase.LOADING, Phase.READY):  # a request was faster
        return replace(model, persistent=True)
    return model


def _released(model: Resident, now: float) -> tuple[Resident, list[Action]]:
    if model.phase is Phase.LOADING or (model.persistent and model.phase is Phase.UNLOADED):
        return _stopped(replace(model, demanded=False), Reason.ASKED, now)
    if model.phase is Phase.READY:
        closing = replace(model, phase=Phase.CLOSING, reason=Reason.ASKED, changed_at=now, persistent=False)
        return closing, [Close(model.name)]
    if model.phase is Phase.CLOSING:
        return replace(model, reason=Reason.ASKED), []
    return replace(model, demanded=False), []  # whoever waits to load it no longer does


def _worked(model: Resident, event: Worked, now: float) -> Resident:
    was_busy = model.busy
    model = replace(model, waiting=event.waiting, running=event.running)
    if model.phase is Phase.READY and model.busy:
        model = replace(model, served=True)
    return replace(model, idle_at=now) if was_busy and not model.busy else model


def _ready(model: Resident, event: BecameReady, now: float) -> Resident:
    return replace(
        model,
        phase=Phase.READY,
        bytes=model.bytes if event.bytes is None else event.bytes,
        demanded=False,
        served=model.running,
        changed_at=now,
        idle_at=now,
        retried=False,
        smaller=False,
        again_after=0.0,
        failures=0,
    )


def _failed(model: Resident, event: LoadFailed, now: float) -> tuple[Resident, list[Action]]:
    """What waits is answered elsewhere; the next request tries again, though not at once every time."""
    delay = min(2.0**model.failures, _RETRY_LIMIT_SECONDS)
    model = replace(
        model,
        failures=model.failures + 1,
        again_after=now + delay,
        demanded=False,
        wanted_at=None,
    )
    if (
        model.persistent and event.launched
    ):  # its hosts go on by themselves, but not with another first try each time
        return replace(model, phase=Phase.UNLOADED, changed_at=now), []
    return _stopped(replace(model, retried=False, smaller=False), Reason.FAILED, now)


def _retry(state: Residency, model: Resident, now: float) -> tuple[Residency, list[Action]]:
    """A load that ran out of memory is tried once more: without the idle models, or else smaller."""
    idle = [
        other
        for other in room.idle(state.models.values(), now)
        if other.device == model.device and other.name != model.name
    ]
    stopped, actions = _stopped(replace(model, retried=True, smaller=not idle), Reason.FAILED, now)
    again = replace(stopped, persistent=model.persistent, demanded=True, wanted_at=now)
    state = _with(state, again)
    for other in idle:
        other, stops = _stopped(other, Reason.MEMORY, now)
        state, actions = _with(state, other), [*actions, *stops]
    return state, actions


def _stopped(model: Resident, reason: Reason, now: float) -> tuple[Resident, list[Action]]:
    model = replace(
        model, phase=Phase.STOPPING, reason=reason, changed_at=now, persistent=False, wanted_at=None
    )
    return model, [Stop(model.name, reason)]


# --- what follows from the whole ----------------------------------------------------------------------


def _settle(state: Residency, actions: list[Action], now: float) -> tuple[Residency, list[Action]]:
    state = _ordered(state, now)
    if not any(map(_needs_attention, state.models.values())):  # nearly always, and once or more per request
        return state, actions
    for step in (_expire, _finish_closing, _make_room):
        state, more = step(state, now)
        actions = [*actions, *more]
    state, reopened = _reopen(state, now)
    wake = min(room.due_times(state, now), default=None)
    return state, [*actions, *reopened, *([] if wake is None else [Wake(wake)])]


def _needs_attention(model: Resident) -> bool:
    return model.keep_alive is not None or model.wanted_at is not None or model.phase is Phase.CLOSING


def _ordered(state: Residency, now: float) -> Residency:
    """Give each model that is wanted and not loaded its place in the order; who is not wanted loses it."""
    for model in state.models.values():
        queued = model.wanted and model.phase in (Phase.UNLOADED, Phase.CLOSING, Phase.STOPPING)
        if queued != (model.wanted_at is not None):
            state = _with(state, replace(model, wanted_at=now if queued else None))
    return state


def _expire(state: Residency, now: float) -> tuple[Residency, list[Action]]:
    """Unload what has had no work for as long as it is kept."""
    actions: list[Action] = []
    for model in room.idle(state.models.values(), now):
        at = room.expires_at(model)
        if at is not None and at <= now:
            model, stops = _stopped(model, Reason.IDLE, now)
            state, actions = _with(state, model), [*actions, *stops]
    return state, actions


def _finish_closing(state: Residency, now: float) -> tuple[Residency, list[Action]]:
    actions: list[Action] = []
    for model in state.models.values():
        if model.phase is Phase.CLOSING and not model.running:
            wanted_at = model.wanted_at
            stopped, stops = _stopped(model, model.reason, now)
            state = _with(state, replace(stopped, wanted_at=wanted_at))
            actions += stops
    return state, actions


def _make_room(state: Residency, now: float) -> tuple[Residency, list[Action]]:
    """Load what is wanted, in order. Who has to wait for a device holds up those behind it."""
    actions: list[Action] = []
    blocked: set[str] = set()
    for name in [model.name for model in room.queue(state, now)]:
        model = state.models[name]
        if model.device in blocked:
            continue
        fit = room.find(state, model, now)
        match fit:
            case room.Never():
                state = _with(state, replace(model, demanded=False, retried=False, smaller=False))
                actions.append(Refuse(name, fit.needed, fit.budget, fit.pinned))
                continue
            case room.Now():
                loading = replace(model, phase=Phase.LOADING, changed_at=now, wanted_at=None, served=False)
                state = _with(state, loading)
                actions.append(Load(name, model.smaller))
                continue
            case room.After():
                state, more = _evict(state, fit, now)
                actions += more
        if state.limits.max_loaded:
            break
        blocked.add(model.device)
    return state, actions


def _evict(state: Residency, fit: room.After, now: float) -> tuple[Residency, list[Action]]:
    actions: list[Action] = []
    for name in fit.stop:
        model, stops = _stopped(state.models[name], Reason.ROOM, now)
        state = _with(state, model)
        actions += stops
    for name in fit.close:
        model = replace(state.models[name], phase=Phase.CLOSING, reason=Reason.ROOM, changed_at=now)
        model = replace(model, wanted_at=now if model.wanted else None)
        state = _with(state, model)
        actions.append(Close(name))
    return state, actions


def _reopen(state: Residency, now: float) -> tuple[Residency, list[Action]]:
    """Whoever waited for the place of a closed model has left: it may go on."""
    actions: list[Action] = []
    waiting = room.queue(state, now)
    for model in state.models.values():
        needed = any(room.helps(state, other, model) for other in waiting)
        if model.phase is Phase.CLOSING and model.reason is Reason.ROOM and not needed:
            state = _with(state, replace(model, phase=Phase.READY, wanted_at=None))
            actions.append(Reopen(model.name))
    return state, actions


def _with(state: Residency, model: Resident) -> Residency:
    return Residency(state.limits, {**state.models, model.name: model})
