"""What the log and clients are told about loads, in numbers."""

from frontend.residency import room
from frontend.residency.state import Phase, Reason, Refuse, Residency, Resident

_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"))

REASONS = {
    Reason.ROOM: "another model needs its place",
    Reason.IDLE: "it was idle for its keep-alive time",
    Reason.ASKED: "this was requested",
    Reason.FAILED: "its load failed",
    Reason.MEMORY: "another model's load ran out of memory",
}


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def loading(seconds: float, last: float | None) -> str:
    took = "" if last is None else f"; the last load took {last:.1f} s"
    return f"it has been loading for {seconds:.1f} s{took}"


def waiting(state: Residency, model: Resident) -> str:
    """What a model that is not loading yet waits for."""
    loaded = [other for other in state.models.values() if other.phase is not Phase.UNLOADED]
    held = sum(other.bytes for other in loaded if other.device == model.device)
    ahead = [
        other for other in room.queue(state, float("inf")) if (other.wanted_at or 0) < (model.wanted_at or 0)
    ]
    budget = state.limits.budgets.get(model.device)
    limit = "" if budget is None else f" of {size(budget)}"
    return (
        f"it needs {size(model.bytes)} on {model.device}, where {len(loaded)} loaded models hold "
        f"{size(held)}{limit}; {len(ahead)} models are loaded before it"
    )


def does_not_fit(refusal: Refuse) -> str:
    if not refusal.budget:
        return "every model that may be loaded at a time is pinned; unpin one, or raise max_loaded_models"
    pinned = f", of which pinned models hold {size(refusal.pinned)}" if refusal.pinned else ""
    return (
        f"it needs about {size(refusal.needed)}, but the memory budget is {size(refusal.budget)}{pinned}; "
        "raise memory_budget_gib, or choose a smaller kv_cache_gib"
    )
