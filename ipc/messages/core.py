"""What every task shares: the bases of messages, the launch of a host, and the life of a request.

Lengths are in tokens and sizes in bytes unless a name says otherwise.
"""

import math
from typing import ClassVar, Generic, TypeVar

import msgspec

from ipc.arena import Lease
from ipc.errors import RequestError

# A payload larger than this crosses in shared memory.
INLINE_LIMIT_BYTES = 64 * 1024

FLOAT_BYTES = 4

# A body that travels beside a message: inline, or as a lease on an arena of whoever sends it.
Payload = bytes | Lease


class Value(msgspec.Struct, array_like=True, gc=False):
    """A part of a message."""


class Message(msgspec.Struct, array_like=True, gc=False, tag=True):
    """A member of a tagged union; the tag is the class's name."""


class Reply(Message):
    """What a host reports about one request."""

    request_id: int

    @property
    def ends(self) -> bool:
        """Whether this is the last reply to the request."""
        return True

    @property
    def units(self) -> int:
        """Progress in the task's own unit: tokens of a text, segments of a transcription. 0 where a task has
        no partial results."""
        return 0

    def check(self, card: "ModelCard") -> None:
        """Raise ValueError for what no engine with this card can have produced."""


class Produced(Reply):
    """A reply that carries what was made. On its way a payload may be a lease; whoever handles the reply sees
    the bytes."""

    payload: Payload


class Result(Produced):
    """A reply that carries a tensor: f4, row by row."""

    shape: tuple[int, ...]
    prompt_tokens: int = 0  # of the input

    def check(self, card: "ModelCard") -> None:  # noqa: ARG002 - the same for every card
        size = math.prod(self.shape) * FLOAT_BYTES
        if (
            any(side < 0 for side in self.shape)
            or not isinstance(self.payload, bytes)
            or len(self.payload) != size
        ):
            raise ValueError(f"a result whose bytes do not match its shape {self.shape}")
        if self.prompt_tokens < 0:
            raise ValueError(f"an input of {self.prompt_tokens} tokens")


class Work(Message):
    """What a host is asked to do for one request. Answered by replies, of which exactly one, the last,
    `ends` the request; or by Failed.

    The payload is the task's own Struct, encoded: the part that may be large, and shared by several requests.
    """

    answers: ClassVar[tuple[type[Reply], ...]]  # the kinds of replies to it

    request_id: int  # unique for the life of a host
    payload: Payload

    @property
    def done_units(self) -> int:
        """Units of progress (see Reply.units) made by earlier hosts, from which this host continues."""
        return 0


# --- launching a host (once, over its control pipe) -------------------------------------------------


class Options(Message):
    """What a task's engine is launched with besides the fields of Launch. Every field has a default."""


OptionsT = TypeVar("OptionsT", bound=Options)


class Launch(Value, Generic[OptionsT]):
    """Everything a host needs to know before it loads its model."""

    frontend_pid: int
    endpoint: str  # the ZeroMQ address to connect to
    model: str  # the name users know the replica's model by
    path: str  # an IR folder; empty for an engine without a model
    engine: str  # a key of host.engines.load.ENGINES
    device: str  # an OpenVINO device name
    properties: dict[str, str]  # OpenVINO properties, verbatim
    threads: int  # inference threads; 0 leaves the choice to OpenVINO
    cpus: list[int]  # CPU affinity; empty means all
    load_seconds: float  # budget of loading, written to the progress page
    stall_seconds: float  # budget of one step, written to the progress page
    faults: bool  # honour [[fault:…]] markers in payloads
    options: OptionsT


class ModelFacts(Message, kw_only=True):
    """What a host reports for the operator only."""

    threads: int = 0  # that compute; 0 if unknown
    weights: str = ""  # their formats, such as "int4/int8"; empty if unknown


class ModelCard(ModelFacts):
    """What a loaded replica can do, whatever its task."""

    device_name: str  # the device's full name
    slots: int  # requests that the engine takes at once
    context_length: int  # of one input, or of prompt and answer together
    load_seconds: float
    fingerprint: str  # changes with the model's files and the engine's version
    properties: dict[str, str]  # OpenVINO properties that the host chose itself


CardT = TypeVar("CardT", bound=ModelCard)

# --- frontend → host ---------------------------------------------------------------------------------


class Cancel(Message):
    """Forget a request; nothing more is sent about it. Unknown ids are ignored."""

    request_id: int


class Drain(Message):
    """Finish what is running, then exit with status 0."""


# --- both ways ---------------------------------------------------------------------------------------


class Release(Message):
    """The consumer has read a lease; its producer may reuse the bytes."""

    slot: int
    generation: int


# --- host → frontend ---------------------------------------------------------------------------------


class Ready(Message, Generic[CardT]):
    """The model is loaded; requests may come."""

    card: CardT


class Failed(Message):
    """The request ended with an error; the host lives on."""

    request_id: int
    error: RequestError


class Gauges(Message):
    """The engine's state, sent when it changes and at most a few times a second."""

    running: int
    waiting: int
    kv_usage: float = 0.0  # 0 to 1


class Fatal(Message):
    """The host is about to exit: loading failed, or the engine cannot go on.

    `reason` is one line for the operator. A `permanent` failure is one that the next host would meet as well:
    a damaged file, a device that this machine does not have, a setting that the engine rejects. `detail` is
    the traceback, for the log at level debug.
    """

    reason: str
    permanent: bool = False
    detail: str = ""
    starved: bool = False  # it had too little CPU, so that what it was computing may be innocent


# --- tasks -------------------------------------------------------------------------------------------


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task's part of the protocol: what the registry in `ipc.messages` lists."""

    name: str
    engines: tuple[str, ...]  # that serve it: keys of host.engines.load.ENGINES
    options: type[Options]
    card: type[ModelCard]
    work: tuple[type[Work], ...]
    replies: tuple[type[Reply], ...]
    uploads: bool = False  # its payloads may be files as large as the server takes
