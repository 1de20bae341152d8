"""What can be set: every setting once, with its type, range, default and description.

Where values come from is `frontend.config_sources`; command-line options and NACELLE_ variables derive from
the Structs below.
"""

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+/-]*$", max_length=200)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=604_800)]  # at most a week, which also keeps out inf
Grace = Annotated[float, Meta(ge=0, le=604_800)]
Bytes = Annotated[int, Meta(ge=4096, le=2**40)]
Secret = Annotated[str, Meta(pattern=r"^[\x21-\x7e]+$")]  # what an HTTP header carries unchanged

GIB = 1024**3


class ConfigError(Exception):
    """A setting that cannot be used. The message is one line and says where the value came from."""


class ModelSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One model to serve."""

    name: Annotated[
        Name,
        Meta(
            description="The model's name in the API. Default: the catalogue name, or the path's last part."
        ),
    ]
    source: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(description="A catalogue name, a GGUF file, an IR folder, or synthetic[:TOKENS_PER_SECOND]."),
    ]
    device: Annotated[
        Annotated[str, Meta(min_length=1)], Meta(description="OpenVINO device, such as CPU, GPU.0 or NPU.")
    ] = "CPU"
    engine: Annotated[
        Literal["auto", "continuous_batching", "stateful"],
        Meta(description="stateful serves one request at a time; auto takes it on an NPU only."),
    ] = "auto"
    task: Annotated[
        Literal["auto", "text", "embeddings", "rerank"],
        Meta(description="What the model is for. auto recognizes it from the model's files."),
    ] = "auto"
    library: Annotated[
        Literal["openvino", "optimum"],
        Meta(
            description="Library that loads models for embeddings and reranking: OpenVINO GenAI, or "
            "Optimum Intel (needs the extra optimum)."
        ),
    ] = "openvino"
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=64)], Meta(description="Engine processes that serve this model.")
    ] = 1
    properties: Annotated[
        dict[str, str],
        Meta(
            description="OpenVINO property, passed on verbatim.",
            extra={"option": "--property", "metavar": "KEY=VALUE"},
        ),
    ] = {}
    threads: Annotated[
        Annotated[int, Meta(ge=0, le=4096)],
        Meta(description="Inference threads of each replica; 0 leaves the choice to OpenVINO."),
    ] = 0
    kv_cache_gib: Annotated[
        Annotated[float, Meta(gt=0, le=65_536)] | None,
        Meta(description="KV cache of each replica in GiB. Default: a share of the free memory."),
    ] = None
    kv_cache_precision: Annotated[
        Literal["u8", "f16", "bf16", "f32"] | None,
        Meta(
            description="Type of the values in the KV cache. Default: the device's own.",
            extra={"metavar": "u8|f16|bf16|f32"},
        ),
    ] = None
    cache_eviction_tokens: Annotated[
        Annotated[int, Meta(ge=128, le=100_000_000)] | None,
        Meta(
            description="Keep the KV cache of so many tokens of a request, the first, the last and the most "
            "attended to. Answers change. Default: of all tokens.",
            extra={"metavar": "N"},
        ),
    ] = None
    context_length: Annotated[
        Annotated[int, Meta(ge=16, le=100_000_000)] | None,
        Meta(
            description="Longest prompt plus answer, in tokens. Default: the model's own.",
            extra={"metavar": "N"},
        ),
    ] = None
    max_num_seqs: Annotated[Count, Meta(description="Most requests in one batch.")] = 64
    max_num_batched_tokens: Annotated[
        Count, Meta(description="Most tokens in one engine step; a cancel waits at most one step.")
    ] = 256
    prefix_caching: Annotated[
        bool,
        Meta(
            description="Reuse the KV cache of prompts that begin alike. Always off with a draft model, "
            "prompt lookup or cache eviction."
        ),
    ] = True
    draft_model: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Speculative decoding: a small model with the same vocabulary that guesses tokens "
            "ahead; a catalogue name, a GGUF file or an IR folder.",
            extra={"metavar": "MODEL"},
        ),
    ] = None
    draft_device: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="OpenVINO device of the draft model. Default: the model's."),
    ] = None
    prompt_lookup: Annotated[
        bool, Meta(description="Speculative decoding that guesses what followed the same words before.")
    ] = False
    num_assistant_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=64)], Meta(description="Tokens that speculative decoding guesses ahead.")
    ] = 4
    max_ngram_size: Annotated[
        Annotated[int, Meta(ge=1, le=64)], Meta(description="Longest run of tokens that a lookup matches.")
    ] = 3
    adapters: Annotated[
        dict[str, str],
        Meta(
            description="LoRA adapter, served as MODEL:NAME by engine processes of its own; ALPHA is its "
            "weight, 1 unless given.",
            extra={"option": "--adapter", "metavar": "NAME=FILE.safetensors[:ALPHA]"},
        ),
    ] = {}
    generation_defaults: Annotated[
        dict[str, str | int | float],
        Meta(
            description="Default for requests, before the model's own: temperature, top_p, top_k, min_p, "
            "repetition_penalty or max_tokens.",
            extra={"option": "--generation-default", "metavar": "KEY=VALUE"},
        ),
    ] = {}
    chat_template: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Jinja file used in place of the model's chat template.", extra={"metavar": "FILE"}),
    ] = None
    tool_format: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="How the model writes tool calls. Default: as its chat template tells."),
    ] = None
    reasoning_format: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="How the model marks its reasoning. Default: as its chat template tells."),
    ] = None
    soft_memory_gib: Annotated[
        Annotated[float, Meta(gt=0, le=65_536)] | None,
        Meta(
            description="A process that has grown beyond this many GiB is replaced between requests. "
            "Default: no limit."
        ),
    ] = None


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The server and its models."""

    host: Annotated[Annotated[str, Meta(min_length=1)], Meta(description="Address to listen on.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65_535)], Meta(description="Port to listen on; 0 takes a free one.")
    ] = 8000
    api_key: Annotated[
        Secret | None,
        Meta(
            description="Clients must send this as a bearer token. Other users of this machine can see a "
            "command line: prefer the environment."
        ),
    ] = None
    allow_unauthenticated: Annotated[
        bool, Meta(description="Listen beyond this machine without an API key.")
    ] = False
    allowed_hosts: Annotated[
        list[str],
        Meta(description="Further name accepted in the Host header.", extra={"option": "--allowed-host"}),
    ] = []
    allowed_origins: Annotated[
        list[str],
        Meta(
            description="Web origin, such as https://chat.example, whose pages may call the API.",
            extra={"option": "--allowed-origin"},
        ),
    ] = []
    max_body_bytes: Annotated[Bytes, Meta(description="Largest request body.")] = 16 * 1024**2
    request_timeout_seconds: Annotated[
        Seconds, Meta(description="Longest life of a request, waiting included.")
    ] = 600.0
    max_queue: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        Meta(description="Most requests that wait for one model; more get a 429."),
    ] = 256
    drain_seconds: Annotated[
        Grace, Meta(description="On shutdown, how long running requests may take to finish.")
    ] = 30.0
    term_seconds: Annotated[
        Grace,
        Meta(description="After that, how long an engine process may take to exit before it is killed."),
    ] = 5.0
    stall_seconds: Annotated[
        Seconds, Meta(description="Longest engine step; past it the engine process is killed and replaced.")
    ] = 30.0
    load_seconds: Annotated[Seconds, Meta(description="Longest load of a model.")] = 600.0
    arena_bytes: Annotated[
        Bytes, Meta(description="Shared memory in each direction between the server and one replica.")
    ] = 64 * 1024**2
    session_store: Annotated[
        Annotated[str, Meta(pattern=r"^(memory:|sqlite:|rediss?://)")],
        Meta(
            description="Where responses and conversations are kept: memory:, sqlite:PATH or redis://HOST.",
            extra={"metavar": "URL"},
        ),
    ] = "memory:"
    session_ttl_seconds: Annotated[
        Seconds, Meta(description="How long they are kept after their last change.")
    ] = 86_400.0
    session_max_entries: Annotated[Count, Meta(description="Most of them that are kept.")] = 10_000
    session_max_bytes: Annotated[
        Bytes, Meta(description="Most bytes of them; one may take a quarter. Redis has a bound of its own.")
    ] = 256 * 1024**2
    log_format: Annotated[
        Literal["text", "json"], Meta(description="Log lines for people or for machines.")
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severity that is logged.")
    ] = "info"
    store: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Folder of pulled and converted models. Default: the user's data folder."),
    ] = None
    faults: Annotated[
        bool,
        Meta(description="Honour fault markers in prompts (for tests).", extra={"environment_only": True}),
    ] = False
    models: Annotated[
        list[ModelSettings], Meta(description="The models to serve.", extra={"metavar": "MODEL"})
    ] = []


def check_bind(settings: Settings) -> None:
    """Raise ConfigError where anybody who reaches the port could use the server."""
    if settings.api_key or settings.allow_unauthenticated or is_loopback(settings.host):
        return
    raise ConfigError(
        f"refusing to listen on {settings.host} without an API key: set NACELLE_API_KEY, "
        "or pass --allow-unauthenticated if something else keeps strangers out"
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


_AUTOMATIC_FRACTION = 4  # of the free memory, the rest is for weights and everybody else
_AUTOMATIC_LEAST = GIB // 4
_AUTOMATIC_MOST = 16 * GIB


def kv_cache_bytes(model: ModelSettings, available: int, replicas: int) -> int:
    """The KV cache budget of one replica of `model`, in bytes.

    `available` is the machine's free memory in bytes and `replicas` the number of replicas of all models that
    share it.
    """
    if model.kv_cache_gib is not None:
        return int(model.kv_cache_gib * GIB)
    share = available // _AUTOMATIC_FRACTION // max(1, replicas)
    return min(max(share, _AUTOMATIC_LEAST), _AUTOMATIC_MOST)
