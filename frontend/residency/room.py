"""Whether a model fits, and who has to leave for it. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from frontend.residency.state import Phase, Residency, Resident

# Two jobs of one request follow each other within milliseconds: a model is idle only after that.
GRACE_SECONDS = 0.05
# What waits for a model has to be prepared once it is loaded, such as images that are fetched.
FIRST_USE_SECONDS = 2.0

_LEAVING = (Phase.CLOSING, Phase.STOPPING)


class Now(msgspec.Struct, frozen=True):
    """It can be loaded."""


class After(msgspec.Struct, frozen=True):
    """It has to wait for others to leave: for these, which are idle and are stopped, or busy and are closed,
    or for those that leave already or are too busy for now."""

    stop: list[str] = []
    close: list[str] = []


class Never(msgspec.Struct, frozen=True):
    """It does not fit, even with everything unloaded that may be. In bytes."""

    needed: int
    budget: int
    pinned: int


def queue(state: Residency, now: float) -> list[Resident]:
    """The models to load, in the order in which they were wanted."""
    waiting = [
        model
        for model in state.models.values()
        if model.wanted_at is not None
        and model.phase is Phase.UNLOADED
        and (model.demanded or model.again_after <= now)
    ]
    return sorted(waiting, key=lambda model: model.wanted_at or 0.0)


def idle(models: Iterable[Resident], now: float) -> list[Resident]:
    """What may be unloaded at once, the least recently used first."""
    found = [model for model in models if _is_idle(model) and idle_from(model) <= now]
    return sorted(found, key=lambda model: model.idle_at)


def _is_idle(model: Resident) -> bool:
    return model.phase is Phase.READY and not model.busy and not model.pinned


def idle_from(model: Resident) -> float:
    """When a model without work counts as idle."""
    return model.idle_at + (GRACE_SECONDS if model.served else FIRST_USE_SECONDS)


def expires_at(model: Resident) -> float | None:
    """When a model without work is unloaded for that; None: never."""
    if model.keep_alive is None or model.pinned or model.phase is not Phase.READY or model.busy:
        return None
    return max(model.idle_at + model.keep_alive, idle_from(model))


def find(state: Residency, model: Resident, now: float) -> Now | After | Never:
    """How `model` gets loaded."""
    others = [other for other in state.models.values() if other.name != model.name]
    loaded = [other for other in others if other.phase is not Phase.UNLOADED]
    if (never := _never(state, model, loaded)) is not None:
        return never
    if model.retried and any(other.phase is Phase.STOPPING for other in loaded):
        return After()
    if _fits(state, model, loaded):
        return Now()
    staying = [other for other in loaded if other.phase not in _LEAVING]
    if _fits(state, model, staying):
        return After()
    relevant = [other for other in staying if helps(state, model, other)]
    candidates = idle(relevant, now)
    if victims := _victims(state, model, staying, candidates):
        return After(stop=victims)
    closable = [other for other in relevant if _may_close(state, model, other, now)]
    victims = _victims(state, model, staying, [*candidates, *closable])
    resting = {candidate.name for candidate in candidates}
    return After(
        stop=[name for name in victims if name in resting],
        close=[name for name in victims if name not in resting],
    )


def _never(state: Residency, model: Resident, loaded: Sequence[Resident]) -> Never | None:
    budget = state.limits.budgets.get(model.device)
    pinned = [other for other in loaded if other.pinned]
    held = sum(other.bytes for other in pinned if other.device == model.device)
    if budget is not None and model.bytes + held > budget:
        return Never(model.bytes, budget, held)
    most = state.limits.max_loaded
    return Never(0, 0, held) if most and len(pinned) >= most else None


def _fits(state: Residency, model: Resident, loaded: Sequence[Resident]) -> bool:
    most = state.limits.max_loaded
    if most and len(loaded) >= most:
        return False
    budget = state.limits.budgets.get(model.device)
    used = sum(other.bytes for other in loaded if other.device == model.device)
    return budget is None or used + model.bytes <= budget


def helps(state: Residency, model: Resident, other: Resident) -> bool:
    """Whether it makes room for `model` if the other one leaves."""
    return other.device == model.device or bool(state.limits.max_loaded)


def _victims(
    state: Residency, model: Resident, staying: Sequence[Resident], candidates: Sequence[Resident]
) -> list[str]:
    """The first of `candidates` without which `model` fits, and none more than that takes; none if all of
    them are not enough."""
    chosen: list[Resident] = []
    left = list(staying)
    for candidate in candidates:
        if _fits(state, model, left):
            break
        chosen.append(candidate)
        left.remove(candidate)
    if not _fits(state, model, left):
        return []
    for candidate in list(chosen):  # a later, larger one may have made it unnecessary
        if _fits(state, model, [*left, candidate]):
            left.append(candidate)
            chosen.remove(candidate)
    return [candidate.name for candidate in chosen]


def _may_close(state: Residency, model: Resident, other: Resident, now: float) -> bool:
    return (
        other.phase is Phase.READY
        and not other.pinned
        and other.busy
        and closes_at(state, model, other) <= now
    )


def closes_at(state: Residency, model: Resident, other: Resident) -> float:
    """When a busy model has to make room: `model` has waited, and the other one has had time to work."""
    since = max(model.wanted_at or 0.0, other.changed_at)
    return since + state.limits.eviction_wait_seconds


def due_times(state: Residency, now: float) -> list[float]:
    """When time alone changes something."""
    waiting = queue(state, now)
    times = [at for model in state.models.values() if (at := expires_at(model)) is not None]
    for model in state.models.values():
        if model.wanted_at is not None and model.phase is Phase.UNLOADED:
            times.append(model.again_after)
        if waiting and model.phase is Phase.READY and not model.pinned:
            times.append(idle_from(model))
            times += [closes_at(state, wanting, model) for wanting in waiting]
    return [at for at in times if at > now]
