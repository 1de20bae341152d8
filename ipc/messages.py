"""The protocol: one Struct per message, one line per field.

Messages travel as msgpack arrays tagged with the class name. Only the structs of this module, and the
leases and errors they hold, ever cross the boundary. Lengths are in tokens and sizes in bytes unless a
name says otherwise.
"""

from typing import Literal

import msgspec

from ipc.arena import Lease
from ipc.errors import RequestError

# What is larger than this crosses in shared memory.
INLINE_LIMIT_BYTES = 64 * 1024

FinishReason = Literal["stop", "length"]
EngineKind = Literal["text", "synthetic"]


class Value(msgspec.Struct, array_like=True, gc=False):
    """A part of a message."""


class Message(msgspec.Struct, array_like=True, gc=False, tag=True):
    """A member of a tagged union."""


# --- launching a host (once, over its control pipe) -------------------------------------------------


class Launch(Value):
    """Everything a host needs to know before it loads its model."""

    frontend_pid: int
    endpoint: str  # the ZeroMQ address to connect to
    model: str  # the name users know the replica's model by
    path: str  # an IR folder
    engine: EngineKind
    device: str  # an OpenVINO device name
    properties: dict[str, str]  # OpenVINO properties, verbatim
    threads: int  # inference threads; 0 leaves the choice to OpenVINO
    cpus: list[int]  # CPU affinity; empty means all
    kv_cache_bytes: int  # memory budget of the KV cache
    context_length: int | None  # overrides the model's own
    max_num_seqs: int  # sequences in one batch
    max_num_batched_tokens: int  # tokens in one step
    prefix_caching: bool
    load_seconds: float  # budget of loading, written to the progress page
    stall_seconds: float  # budget of one step, written to the progress page
    faults: bool  # honour [[fault:…]] markers in prompts
    synthetic_tokens_per_second: float  # of the synthetic engine, per request; 0 means as fast as it can


# --- frontend → host ---------------------------------------------------------------------------------


class ChatMessage(Value):
    role: str
    content: str
    name: str | None = None


class ChatPrompt(Message):
    """Messages for the model's chat template."""

    messages: list[ChatMessage]


class TextPrompt(Message):
    """Plain text, tokenized with the model's special tokens."""

    text: str


class TokenPrompt(Message):
    """Token ids, used as they are."""

    token_ids: list[int]


class SharedPrompt(Message):
    """A prompt above INLINE_LIMIT_BYTES: `lease` holds one of the three above, encoded."""

    lease: Lease


InlinePrompt = ChatPrompt | TextPrompt | TokenPrompt
Prompt = ChatPrompt | TextPrompt | TokenPrompt | SharedPrompt


class Sampling(Value):
    """How to choose tokens and when to stop. None means the model's default."""

    max_tokens: int | None = None  # None: as many as the context still holds
    min_tokens: int = 0
    temperature: float | None = None  # 0 is greedy
    top_p: float | None = None
    top_k: int | None = None  # 0 or -1 is off
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None  # None draws a random one
    stop: list[str] = []
    ignore_eos: bool = False


class Generate(Message):
    """Generate one text. Answered by Accepted, Steps, and one Completed or Failed.

    `resume_token_ids` is what an earlier host has already generated for it. Those tokens count as generated
    and are not sent again: the host goes on from there, or, where the next token depends on more than the
    text so far (a seed, penalties), generates them again silently and fails if they come out different.
    """

    request_id: int  # unique for the life of a host
    prompt: Prompt
    sampling: Sampling
    resume_token_ids: list[int] = []


class Cancel(Message):
    """Forget a request; nothing more is sent about it. Unknown ids are ignored."""

    request_id: int


class Drain(Message):
    """Finish what is running, then exit with status 0."""


ToHost = Generate | Cancel | Drain


# --- host → frontend ---------------------------------------------------------------------------------


class ModelCard(Value):
    """What a loaded replica can do."""

    context_length: int
    vocab_size: int
    kv_cache_tokens: int  # tokens that the KV cache holds
    max_num_seqs: int
    has_chat_template: bool
    device_name: str  # the device's full name
    load_seconds: float


class Ready(Message):
    """The model is loaded; requests may come."""

    card: ModelCard


class Accepted(Message):
    """The request passed all checks and is with the engine."""

    request_id: int
    prompt_tokens: int


class Delta(Value):
    """What one request gained in one step. `text` lags `token_ids` where a character or a possible stop
    string is still open, and may be empty."""

    request_id: int
    token_ids: list[int]
    text: str


class Step(Message):
    """All that one engine step produced, over the whole batch."""

    deltas: list[Delta]


class Completed(Message):
    """The request ended well; its last Delta was sent before."""

    request_id: int
    finish_reason: FinishReason


class Failed(Message):
    """The request ended with an error; the host lives on."""

    request_id: int
    error: RequestError


class Release(Message):
    """The consumer has read a lease; its producer may reuse the bytes."""

    slot: int
    generation: int


class Gauges(Message):
    """The engine's state, sent when it changes and at most a few times a second."""

    running: int
    waiting: int
    kv_usage: float  # 0 to 1


class Fatal(Message):
    """The host is about to exit: loading failed, or the engine cannot go on. `reason` is for the operator."""

    reason: str


ToFrontend = Ready | Accepted | Step | Completed | Failed | Release | Gauges | Fatal
