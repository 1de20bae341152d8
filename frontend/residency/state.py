"""What the residency policy knows and hears. Times are seconds on one clock, sizes in bytes."""

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    CLOSING = "closing"  # gets nothing new and finishes what runs, to be unloaded then
    STOPPING = "stopping"  # its processes leave; the memory is still theirs


class Reason(StrEnum):
    """Why a model is unloaded: a label of the metrics."""

    ROOM = "room"  # another model needs its place
    # Its keep-alive is over. There is no cheaper step before this one: what an idle host on a CPU could give
    # back, by trimming its heap, was measured as 1.5 % of what it holds.
    IDLE = "idle"
    ASKED = "asked"  # by a person or a program
    FAILED = "failed"  # its load failed
    MEMORY = "memory"  # another model's load ran out of memory


class Resident(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `bytes` is what it takes, all replicas together, as far as that is known."""

    name: str
    device: str
    bytes: int = 0
    pinned: bool = False
    keep_alive: float | None = None  # seconds for which it stays loaded without work; None: for ever
    phase: Phase = Phase.UNLOADED
    waiting: bool = False  # requests wait for it
    running: bool = False  # its hosts work
    demanded: bool = False  # somebody asked for it to be loaded, and waits for that
    wanted_at: float | None = None  # while it is wanted and not loaded: since when, its place in the order
    served: bool = False  # it has had work since it was loaded
    changed_at: float = 0.0  # when its phase became what it is
    idle_at: float = 0.0  # when its last work ended, or it became ready
    reason: Reason = Reason.ROOM  # why it is CLOSING or STOPPING
    retried: bool = False  # its load ran out of memory, and is tried once more
    smaller: bool = False  # with less memory
    persistent: bool = False  # its hosts try again by themselves after a failure, until it is unloaded once
    again_after: float = 0.0  # requests do not load it before that, because a load failed
    failures: int = 0  # loads in a row

    @property
    def busy(self) -> bool:
        return self.waiting or self.running

    @property
    def wanted(self) -> bool:
        return self.waiting or self.demanded


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    budgets: dict[str, int] = {}  # by device; one that is not listed has no limit
    max_loaded: int = 0  # models; 0 is no limit
    eviction_wait_seconds: float = 10.0  # for which a busy model may keep another one waiting


class Residency(msgspec.Struct, frozen=True):
    """All models that can be loaded, and the limits within which they are."""

    limits: Limits = Limits()
    models: dict[str, Resident] = {}


# --- events: each is about one model, except Tick -----------------------------------------------------


class Added(msgspec.Struct, frozen=True):
    model: Resident


class Removed(msgspec.Struct, frozen=True):
    """It is no longer served, and its processes are gone."""

    name: str


class Worked(msgspec.Struct, frozen=True):
    """Its requests that wait or run became some, or none."""

    name: str
    waiting: bool
    running: bool


class Demanded(msgspec.Struct, frozen=True):
    """Somebody asks for it to be loaded, whether requests wait or not; or no longer waits for that."""

    name: str
    demanded: bool = True


class BecameReady(msgspec.Struct, frozen=True):
    name: str
    bytes: int | None = None  # what it takes, where that is known better now


class LoadFailed(msgspec.Struct, frozen=True):
    name: str
    out_of_memory: bool = False
    launched: bool = True  # its processes were started, or are starting again by themselves


class Started(msgspec.Struct, frozen=True):
    """It began to load by itself: a host that had failed is tried again."""

    name: str


class Gone(msgspec.Struct, frozen=True):
    """Its processes have left."""

    name: str


class Released(msgspec.Struct, frozen=True):
    """Somebody asks for it to be unloaded once what runs has finished."""

    name: str


class Pinned(msgspec.Struct, frozen=True):
    name: str
    pinned: bool


class KeptAlive(msgspec.Struct, frozen=True):
    """From now on it stays loaded for so long without work; None: for ever."""

    name: str
    seconds: float | None


class Measured(msgspec.Struct, frozen=True):
    name: str
    bytes: int


class Redefined(msgspec.Struct, frozen=True):
    """Its settings changed while it was unloaded, or in ways that its processes do not know."""

    name: str
    device: str
    bytes: int
    pinned: bool
    keep_alive: float | None


class Limited(msgspec.Struct, frozen=True):
    """The limits changed."""

    limits: Limits


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


Event = (
    Added
    | Removed
    | Worked
    | Demanded
    | BecameReady
    | LoadFailed
    | Started
    | Gone
    | Released
    | Pinned
    | KeptAlive
    | Measured
    | Redefined
    | Limited
    | Tick
)


# --- actions ------------------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True):
    """Start its processes; `smaller`: with less memory than the last time."""

    name: str
    smaller: bool = False


class Close(msgspec.Struct, frozen=True):
    """Send it nothing new."""

    name: str


class Reopen(msgspec.Struct, frozen=True):
    """Send it work again: nobody needs its place any more."""

    name: str


class Stop(msgspec.Struct, frozen=True):
    """Stop its processes, which have nothing left to do."""

    name: str
    reason: Reason


class Refuse(msgspec.Struct, frozen=True):
    """End what waits for it: it does not fit, even with every model unloaded that may be."""

    name: str
    needed: int
    budget: int
    pinned: int  # bytes of the budget that pinned models hold


class Wake(msgspec.Struct, frozen=True):
    """Send a Tick at that time."""

    at: float


Action = Load | Close | Reopen | Stop | Refuse | Wake
