"""The protocol: one Struct per message, one line per field.

Messages travel as msgpack arrays tagged with the class name. Only the structs of this module, and the
leases and errors they hold, ever cross the boundary. Lengths are in tokens and sizes in bytes unless a
name says otherwise.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ipc.arena import Lease
from ipc.errors import RequestError

# What is larger than this crosses in shared memory.
INLINE_LIMIT_BYTES = 64 * 1024

PROMPT_TAIL = 64  # characters

FinishReason = Literal["stop", "length"]
EngineKind = Literal["text", "stateful", "synthetic"]


class Value(msgspec.Struct, array_like=True, gc=False):
    """A part of a message."""


class Message(msgspec.Struct, array_like=True, gc=False, tag=True):
    """A member of a tagged union."""


# --- launching a host (once, over its control pipe) -------------------------------------------------


class DraftModel(Message):
    """Speculative decoding: a smaller model guesses tokens, which the model checks in one pass."""

    num_assistant_tokens: int  # guessed at once
    path: str  # an IR folder
    device: str


class PromptLookup(Message):
    """Speculative decoding: tokens are guessed to follow as they did earlier in the text."""

    num_assistant_tokens: int  # guessed at once
    max_ngram_size: int  # the longest run of tokens that is looked up


Speculation = DraftModel | PromptLookup


class Adapter(Value):
    """A LoRA adapter, part of the model from load to end."""

    path: str  # a safetensors file
    alpha: float  # its weight


class GenerationDefaults(Value):
    """What a request gets that says nothing. None leaves it to the model's files."""

    temperature: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None  # None: as many as the context still holds


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
    speculation: Speculation | None = None
    adapter: Adapter | None = None
    cache_eviction_tokens: int | None = None  # of one request, that the KV cache keeps; None: all
    generation_defaults: GenerationDefaults = msgspec.field(default_factory=GenerationDefaults)
    chat_template: str = ""  # in place of the model's own; empty for that


# --- frontend → host ---------------------------------------------------------------------------------


class ToolCall(Value):
    """A call that the model made earlier in the conversation."""

    id: str
    name: str
    arguments: str  # a JSON object as text


class ChatMessage(Value):
    role: str
    content: str | None  # None in an assistant's message that holds nothing but tool calls
    name: str | None = None
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None  # of a tool's message: the call that it answers
    reasoning: str | None = None


class ChatPrompt(Message):
    """Messages for the model's chat template, and what else the template is given."""

    messages: list[ChatMessage]
    tools: str = ""  # a JSON list of {"type": "function", "function": {…}}; empty for none
    template_arguments: str = ""  # a JSON object of further template variables; empty for none
    add_generation_prompt: bool = True
    continue_final_message: bool = False  # the answer goes on in the last message


class TextPrompt(Message):
    """Plain text."""

    text: str
    add_special_tokens: bool = True  # as the model's tokenizer does


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
    stop_token_ids: list[int] = []
    include_stop: bool = False  # a stop string is shown
    stop_at_turns: bool = True  # the turn markers of the chat template end a text, too
    skip_special_tokens: bool = True  # in the text
    logprobs: bool = False  # of the chosen tokens
    truncate_prompt: int | None = None  # keep so many of the prompt's last tokens; -1: what fits the context
    grammar: str = ""  # the `format` of an XGrammar structural tag, as JSON; empty for none
    # Begin and end of the model's reasoning: after a prompt that ends with the begin, the grammar waits.
    reasoning_markers: list[str] = []


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
    report_prompt: bool = False  # Accepted is to carry the prompt's token ids


class Tokenize(Message):
    """From a prompt to its token ids, by way of the chat template where it is one for that. Answered by
    Tokenized or Failed."""

    request_id: int
    prompt: Prompt


class Detokenize(Message):
    """From token ids to text. Answered by Detokenized or Failed."""

    request_id: int
    token_ids: list[int]
    skip_special_tokens: bool = False


class Cancel(Message):
    """Forget a request; nothing more is sent about it. Unknown ids are ignored."""

    request_id: int


class Drain(Message):
    """Finish what is running, then exit with status 0."""


ToHost = Generate | Tokenize | Detokenize | Cancel | Drain


# --- host → frontend ---------------------------------------------------------------------------------


class ModelCard(Value):
    """What a loaded replica can do."""

    context_length: int
    vocab_size: int
    kv_cache_tokens: int  # tokens that the KV cache holds
    max_num_seqs: int
    chat_template: str  # its source; empty for none
    device_name: str  # the device's full name
    load_seconds: float
    fingerprint: str = ""  # changes with the model's files and the engine's version


class Ready(Message):
    """The model is loaded; requests may come."""

    card: ModelCard


class Accepted(Message):
    """The request passed all checks and is with the engine."""

    request_id: int
    prompt_tokens: int
    prompt_tail: str = ""  # the last characters that the chat template wrote, at most PROMPT_TAIL
    prompt_token_ids: list[int] = []  # where they were asked for


class Tokenized(Message):
    request_id: int
    token_ids: list[int]
    text: str  # the prompt as the chat template wrote it, or as it was given; empty if it was token ids
    token_texts: list[str]  # by token


class Detokenized(Message):
    request_id: int
    text: str


class Delta(Value):
    """What one request gained in one step. `text` lags `token_ids` where a character or a possible stop
    string is still open, and may be empty."""

    request_id: int
    token_ids: list[int]
    text: str
    logprobs: list[float] = []  # by token, where they were asked for
    token_bytes: list[bytes] = []  # by token, with the logprobs


class Step(Message):
    """All that one engine step produced, over the whole batch."""

    deltas: list[Delta]


class Completed(Message):
    """The request ended well; its last Delta was sent before."""

    request_id: int
    finish_reason: FinishReason
    stop: str | int | None = None  # the stop string or the client's stop token that ended it
    cached_tokens: int = 0  # of the prompt, found in the KV cache


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


ToFrontend = Ready | Accepted | Tokenized | Detokenized | Step | Completed | Failed | Release | Gauges | Fatal
