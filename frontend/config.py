"""All settings, each defined once: its type, range, default and description.

Command-line options and NACELLE_* variables are derived from the Structs below; `frontend.config_sources`
reads and merges their values.
"""

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

NAME_CHARACTERS = 200
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+/-]*\Z", max_length=NAME_CHARACTERS)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=604_800)]  # at most a week; the upper bound also excludes inf
Grace = Annotated[float, Meta(ge=0, le=604_800)]
Bytes = Annotated[int, Meta(ge=4096, le=2**40)]
Weight = Annotated[float, Meta(ge=0, le=1_000_000)]
Secret = Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z")]  # characters that HTTP headers carry unchanged

GIB = 1024**3


class ConfigError(Exception):
    """An invalid setting. The message is one line and names the source of the value."""


class ModelSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One model to serve."""

    name: Annotated[
        Name,
        Meta(
            description="Name of the model in the API. Default: the catalogue name, or the last part of the "
            "path.",
            extra={
                "allowed": f"at most {NAME_CHARACTERS} letters, digits or ._:@+/-, a letter or digit first"
            },
        ),
    ]
    source: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(
            description="Catalogue name, GGUF file, IR folder, synthetic[:TOKENS_PER_SECOND], or remote for "
            "a model that only other servers have."
        ),
    ]
    remote: Annotated[
        list[Annotated[str, Meta(pattern=r"^https?://[^\s/]+(/\S*)?\Z")]],
        Meta(
            description="Another server that has the model, for example http://HOST:8000/v1: a Nacelle, "
            "which becomes a replica, or any other with the OpenAI API.",
            extra={"metavar": "URL", "allowed": "http://HOST:PORT/… or https://HOST/…"},
        ),
    ] = []
    remote_model: Annotated[
        Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)] | None,
        Meta(description="Name of the model on the other servers. Default: its name here."),
    ] = None
    remote_api_key_env: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")] | None,
        Meta(
            description="Environment variable that holds the API key of the other servers. Default: no key "
            "is sent.",
            extra={"metavar": "VARIABLE", "allowed": "the name of an environment variable"},
        ),
    ] = None
    device: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(description="OpenVINO device, for example CPU, GPU.0 or NPU.", extra={"upper": True}),
    ] = "CPU"
    engine: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(
            description="stateful processes one request at a time; auto selects it for NPUs, and otherwise "
            "the engine of the model's task, which is continuous_batching for text.",
            extra={"metavar": "ENGINE", "word": True},
        ),
    ] = "auto"
    task: Annotated[
        Literal["auto", "text", "embeddings", "rerank", "vision", "transcription", "speech"],
        Meta(description="What the model is for. auto recognizes it from the model's files."),
    ] = "auto"
    library: Annotated[
        Literal["auto", "genai", "openvino", "optimum"],
        Meta(
            description="Library that computes the model. auto: OpenVINO for embeddings and rerank, else "
            "OpenVINO GenAI. Others are openvino for speech (needs the extra speech), and optimum, which is "
            "Optimum Intel, for embeddings and rerank (needs the extra optimum)."
        ),
    ] = "auto"
    pooling: Annotated[
        Literal["mean", "cls", "last_token"] | None,
        Meta(
            description="How an embedding model makes one vector of many. Default: as the model's files say.",
            extra={"metavar": "mean|cls|last_token"},
        ),
    ] = None
    normalize: Annotated[
        bool | None,
        Meta(
            description="Whether embeddings have length 1. Default: as the model's files say.",
            extra={"metavar": "true|false"},
        ),
    ] = None
    max_batch_tokens: Annotated[
        Count, Meta(description="Maximum number of tokens in one pass of embedding models and rerankers.")
    ] = 1024
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=64)], Meta(description="Number of engine processes for this model.")
    ] = 1
    properties: Annotated[
        dict[str, str],
        Meta(
            description="OpenVINO property, passed to the engine unchanged.",
            extra={"option": "--property", "metavar": "KEY=VALUE"},
        ),
    ] = {}
    threads: Annotated[
        Annotated[int, Meta(ge=0, le=4096)],
        Meta(description="Number of inference threads per replica; 0 lets OpenVINO choose."),
    ] = 0
    kv_cache_gib: Annotated[
        Annotated[float, Meta(gt=0, le=65_536)] | None,
        Meta(
            description="Size of the KV cache per replica, in GiB. Default: a quarter of the free memory, "
            "divided among all replicas."
        ),
    ] = None
    kv_cache_precision: Annotated[
        Literal["u8", "f16", "bf16", "f32"] | None,
        Meta(
            description="Data type of the KV cache. Default: chosen by the device's plugin.",
            extra={"metavar": "u8|f16|bf16|f32"},
        ),
    ] = None
    cache_eviction_tokens: Annotated[
        Annotated[int, Meta(ge=128, le=100_000_000)] | None,
        Meta(
            description="Keep at most N tokens per request in the KV cache: the first, the last and the most "
            "attended to. This changes answers. Default: keep all tokens.",
            extra={"metavar": "N"},
        ),
    ] = None
    context_length: Annotated[
        Annotated[int, Meta(ge=16, le=100_000_000)] | None,
        Meta(
            description="Maximum length of prompt and answer together, in tokens. Default: the model's own "
            "limit.",
            extra={"metavar": "N"},
        ),
    ] = None
    max_num_seqs: Annotated[Count, Meta(description="Maximum number of sequences in a batch.")] = 64
    max_num_batched_tokens: Annotated[
        Count,
        Meta(
            description="Maximum number of tokens per engine step. Cancellation waits for at most one step. "
            "With prefix_caching at least two blocks of the KV cache: 64 on CPU, 32 on other devices."
        ),
    ] = 256
    prefix_caching: Annotated[
        bool,
        Meta(
            description="Reuse the KV cache of common prompt prefixes. Always off with a draft model, prompt "
            "lookup or cache eviction."
        ),
    ] = True
    draft_model: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Speculative decoding: a smaller model with the same vocabulary that proposes "
            "tokens. A catalogue name, GGUF file or IR folder.",
            extra={"metavar": "MODEL"},
        ),
    ] = None
    draft_device: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="OpenVINO device of the draft model. Default: the device of the model.",
            extra={"upper": True},
        ),
    ] = None
    prompt_lookup: Annotated[
        bool,
        Meta(
            description="Speculative decoding without a draft model: propose the tokens that followed the "
            "same tokens earlier in the text."
        ),
    ] = False
    num_assistant_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        Meta(description="Number of tokens that speculative decoding proposes per step."),
    ] = 4
    max_ngram_size: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        Meta(description="Maximum number of consecutive tokens that prompt lookup matches."),
    ] = 3
    adapters: Annotated[
        dict[str, str],
        Meta(
            description="LoRA adapter, served as MODEL:NAME by separate engine processes. ALPHA is its "
            "weight (default 1).",
            extra={"option": "--adapter", "metavar": "NAME=FILE.safetensors[:ALPHA]"},
        ),
    ] = {}
    generation_defaults: Annotated[
        dict[str, str | int | float],
        Meta(
            description="Default for requests that omit the parameter; overrides the model's own default. "
            "KEY is temperature, top_p, top_k, min_p, repetition_penalty or max_tokens.",
            extra={"option": "--generation-default", "metavar": "KEY=VALUE"},
        ),
    ] = {}
    voice_aliases: Annotated[
        dict[str, str],
        Meta(
            description="Another name of a voice or blend of a speech model, such as alloy or default. "
            "Default: OpenAI's names for Kokoro's voices.",
            extra={"option": "--voice-alias", "metavar": "NAME=VOICE"},
        ),
    ] = {}
    chat_template: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Jinja file that replaces the model's chat template.", extra={"metavar": "FILE"}),
    ] = None
    tool_format: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Format of the model's tool calls. Default: detected from the chat template.",
            extra={"metavar": "FORMAT", "word": True},
        ),
    ] = None
    reasoning_format: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Format of the model's reasoning. Default: detected from the chat template.",
            extra={"metavar": "FORMAT", "word": True},
        ),
    ] = None
    soft_memory_gib: Annotated[
        Annotated[float, Meta(gt=0, le=65_536)] | None,
        Meta(
            description="Replace an engine process, without losing requests, once it uses more than so many "
            "GiB of memory. Default: no limit."
        ),
    ] = None
    max_waiting: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(
            description="Maximum number of queued requests for the model. Default: max_queue of the server."
        ),
    ] = None
    max_prompt_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=100_000_000)] | None,
        Meta(description="Maximum length of a prompt, in tokens. Default: what the context has room for."),
    ] = None
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=16, le=100_000_000)] | None,
        Meta(
            description="Maximum length of an answer, in tokens; requests that ask for more get a 400. "
            "Default: what the context has room for."
        ),
    ] = None
    max_audio_seconds: Annotated[
        Annotated[float, Meta(ge=1, le=604_800)],
        Meta(description="Maximum length of a recording that is transcribed."),
    ] = 14_400.0
    preload: Annotated[
        bool,
        Meta(
            description="Load the model when the server starts; false loads it with the first request for it."
        ),
    ] = True
    pinned: Annotated[
        bool, Meta(description="Never unload the model to make room for another one, or because it is idle.")
    ] = False
    keep_alive_seconds: Annotated[
        Annotated[float, Meta(ge=-1, le=31_536_000)] | None,
        Meta(
            description="Unload the model after this time without requests; -1 keeps it loaded. Default: "
            "keep it loaded."
        ),
    ] = None
    explicit: frozenset[str] = frozenset()  # names of the settings above that somebody set, even to a default


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The server and its models."""

    host: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253)], Meta(description="Address to listen on.")
    ] = "127.0.0.1"
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65_535)], Meta(description="Port to listen on; 0 selects a free port.")
    ] = 8000
    ollama_port: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)] | None,
        Meta(
            description="Second port to listen on, for clients that expect Ollama, whose own port is 11434. "
            "Default: none; Ollama's API is also on the other port.",
            extra={"metavar": "PORT"},
        ),
    ] = None
    api_key: Annotated[
        Secret | None,
        Meta(
            description="Key that clients must send as a bearer token. Prefer the environment variable: "
            "other users of this machine can see command lines.",
            extra={"allowed": "visible ASCII characters without blanks", "secret": True},
        ),
    ] = None
    api_keys: Annotated[
        list[Secret],
        Meta(
            description="Further keys, each of which may do everything. Prefer the environment variable, or "
            "nacelle keys.",
            extra={
                "metavar": "KEY",
                "allowed": "visible ASCII characters without blanks",
                "secret": True,
            },
        ),
    ] = []
    api_keys_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="File of API keys, which nacelle keys writes; the server follows its changes. "
            "Default: keys.json in the user's configuration folder, if it exists.",
            extra={"metavar": "FILE"},
        ),
    ] = None
    jwt_secret: Annotated[
        Secret | None,
        Meta(
            description="Accept JSON Web Tokens that are signed with this secret (HS256, HS384, HS512). "
            "Prefer the environment variable.",
            extra={"allowed": "visible ASCII characters without blanks", "secret": True},
        ),
    ] = None
    jwt_public_key_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Accept JSON Web Tokens that this RSA or EC key can check, a PEM file.",
            extra={"metavar": "FILE"},
        ),
    ] = None
    jwt_jwks_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/]+(/\S*)?\Z")] | None,
        Meta(
            description="Accept JSON Web Tokens that a key of this JSON Web Key Set can check.",
            extra={"metavar": "URL", "allowed": "https://HOST/… or http://HOST/…"},
        ),
    ] = None
    jwt_jwks_seconds: Annotated[
        Seconds, Meta(description="Minimum time between two requests for the key set.")
    ] = 30.0
    jwt_algorithms: Annotated[
        list[Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]],
        Meta(
            description="Algorithm of accepted tokens, such as RS256. Default: all that fit the kind of the "
            "key.",
            extra={"option": "--jwt-algorithm", "metavar": "ALGORITHM"},
        ),
    ] = []
    jwt_issuer: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Required issuer (iss) of tokens. Default: any."),
    ] = None
    jwt_audience: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="Accepted audience (aud) of tokens. Default: any."),
    ] = []
    jwt_leeway_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=3600)],
        Meta(description="By how much the clocks of the issuer and of this machine may differ."),
    ] = 30.0
    tls_certificate: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Serve HTTPS with this certificate, a PEM file with its chain.",
            extra={"metavar": "FILE"},
        ),
    ] = None
    tls_key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Private key of the certificate, a PEM file. Default: in the certificate's file.",
            extra={"metavar": "FILE"},
        ),
    ] = None
    allow_unauthenticated: Annotated[
        bool, Meta(description="Allow listening on non-loopback addresses without an API key.")
    ] = False
    allowed_hosts: Annotated[
        list[str],
        Meta(
            description="Additional host name to accept in the Host header.",
            extra={"option": "--allowed-host"},
        ),
    ] = []
    allowed_origins: Annotated[
        list[str],
        Meta(
            description="Web origin whose pages may call the API, for example https://chat.example.",
            extra={"option": "--allowed-origin"},
        ),
    ] = []
    max_body_bytes: Annotated[Bytes, Meta(description="Maximum size of a request body.")] = 16 * 1024**2
    max_images: Annotated[
        Annotated[int, Meta(ge=0, le=10_000)],
        Meta(description="Maximum number of images in a request, those of earlier turns included."),
    ] = 32
    max_image_bytes: Annotated[
        Annotated[int, Meta(ge=4096, le=32 * 1024**2)],
        Meta(description="Maximum size of an image, before it is decoded."),
    ] = 20 * 1024**2
    allowed_media_domains: Annotated[
        list[str],
        Meta(
            description="Domain to fetch images from: example.com, .example.com for its subdomains as well, "
            "or * for all. Default: URLs are not fetched.",
            extra={"option": "--allowed-media-domain"},
        ),
    ] = []
    allow_private_media: Annotated[
        bool, Meta(description="Allow fetching images from addresses of this machine and private networks.")
    ] = False
    media_fetch_seconds: Annotated[
        Seconds, Meta(description="Maximum time to fetch an image, redirects included.")
    ] = 10.0
    request_timeout_seconds: Annotated[
        Seconds, Meta(description="Maximum duration of a request, including time in the queue.")
    ] = 600.0
    max_queue: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        Meta(description="Maximum number of queued requests per model; further requests get a 429."),
    ] = 256
    requests_per_minute: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(
            description="Maximum number of requests per minute of an API key that has no limit of its own. "
            "Without keys, all clients count as one. Default: no limit."
        ),
    ] = None
    tokens_per_minute: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(
            description="Maximum number of tokens, of prompts and answers, per minute of an API key that has "
            "no limit of its own. Default: no limit."
        ),
    ] = None
    max_concurrent: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(
            description="Maximum number of requests of an API key without a limit of its own that are "
            "answered at the same time. Default: no limit."
        ),
    ] = None
    total_requests_per_minute: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="Maximum number of requests per minute of all clients. Default: no limit."),
    ] = None
    total_tokens_per_minute: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="Maximum number of tokens per minute of all clients. Default: no limit."),
    ] = None
    total_max_concurrent: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(
            description="Maximum number of requests of all clients that are answered at the same time. "
            "Default: no limit."
        ),
    ] = None
    max_downloads: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        Meta(description="Maximum number of model downloads that run at the same time; others wait."),
    ] = 2
    drain_seconds: Annotated[Grace, Meta(description="On shutdown, time for running requests to finish.")] = (
        30.0
    )
    term_seconds: Annotated[
        Grace,
        Meta(
            description="On shutdown, after draining: time for an engine process to exit before it is killed."
        ),
    ] = 5.0
    stall_seconds: Annotated[
        Seconds,
        Meta(
            description="Maximum duration of an engine step; an engine process that exceeds it is killed and "
            "replaced."
        ),
    ] = 30.0
    load_seconds: Annotated[Seconds, Meta(description="Maximum time to load a model.")] = 600.0
    memory_budget_gib: Annotated[
        dict[str, str | int | float],
        Meta(
            description="Memory that loaded models may use on a device, in GiB, for example CPU=16; idle "
            "models are unloaded to stay within it. Default for CPU: the memory that is available at the "
            "start, less a reserve.",
            extra={"option": "--memory-budget-gib", "metavar": "DEVICE=GIB"},
        ),
    ] = {}
    max_loaded_models: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        Meta(description="Maximum number of models that are loaded at a time; 0 is no limit."),
    ] = 0
    load_wait_seconds: Annotated[
        Seconds, Meta(description="Maximum time for which a request waits for its model to be loaded.")
    ] = 300.0
    eviction_wait_seconds: Annotated[
        Grace,
        Meta(
            description="Time for which busy models may keep another one waiting for memory; then one of "
            "them finishes its running requests and is unloaded."
        ),
    ] = 10.0
    arena_bytes: Annotated[
        Bytes,
        Meta(description="Shared memory between the server and a replica, in each direction."),
    ] = 64 * 1024**2
    max_upload_bytes: Annotated[Bytes, Meta(description="Maximum size of an uploaded file.")] = 512 * 1024**2
    max_spool_bytes: Annotated[
        Bytes, Meta(description="Maximum total size of the uploaded files that the server holds at a time.")
    ] = 4 * 1024**3
    spool: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Folder for uploaded files. Default: one for temporary files that is on a disk."),
    ] = None
    file_store: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Folder for the files and batches of clients, which are kept across restarts. "
            "Default: in the user's data folder."
        ),
    ] = None
    max_file_store_bytes: Annotated[
        Bytes, Meta(description="Maximum total size of the stored files; further uploads get a 413.")
    ] = 16 * 1024**3
    max_stored_files: Annotated[Count, Meta(description="Maximum number of stored files.")] = 10_000
    max_batch_requests: Annotated[
        Annotated[int, Meta(ge=1, le=4096)],
        Meta(
            description="Maximum number of requests of batches that run at the same time; batches take turns."
        ),
    ] = 16
    session_store: Annotated[
        Annotated[str, Meta(pattern=r"^(memory:|sqlite:(?!//).+|rediss?://.+)\Z")],
        Meta(
            description="Where to store responses and conversations: memory:, sqlite:PATH or redis://HOST.",
            # It may contain a password.
            extra={
                "metavar": "URL",
                "allowed": "memory:, sqlite:PATH or redis://HOST:PORT/DB",
                "secret": True,
            },
        ),
    ] = "memory:"
    session_ttl_seconds: Annotated[
        Seconds, Meta(description="Lifetime of a stored response or conversation after its last change.")
    ] = 86_400.0
    session_max_entries: Annotated[
        Count,
        Meta(
            description="Maximum number of stored responses and conversations. Redis is limited by its own "
            "configuration."
        ),
    ] = 10_000
    session_max_bytes: Annotated[
        Bytes,
        Meta(
            description="Maximum total size of stored responses and conversations; a single one may use at "
            "most a quarter. Redis limits the total by its own configuration."
        ),
    ] = 256 * 1024**2
    response_cache_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=2**40)],
        Meta(
            description="Maximum total size of cached answers to deterministic requests; one may use at most "
            "a quarter. 0 turns the cache off."
        ),
    ] = 0
    response_cache_seconds: Annotated[Seconds, Meta(description="Lifetime of a cached answer.")] = 300.0
    retry_grace_seconds: Annotated[
        Grace,
        Meta(
            description="Time for which a request with an Idempotency-Key goes on after its client has left, "
            "so that a retry can join it."
        ),
    ] = 30.0
    log_format: Annotated[
        Literal["text", "json"],
        Meta(description="Format of log lines: plain text, or a JSON object per line."),
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Minimum log level.")
    ] = "info"
    otel: Annotated[
        bool,
        Meta(
            description="Send OpenTelemetry traces over OTLP/HTTP, as the variables "
            "OTEL_EXPORTER_OTLP_ENDPOINT and its like state; needs the extra otel."
        ),
    ] = False
    otel_endpoint: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/]+(/\S*)?\Z")] | None,
        Meta(
            description="Send OpenTelemetry traces to this collector, whose base URL is for example "
            "http://HOST:4318.",
            extra={"metavar": "URL", "allowed": "http://HOST:PORT or https://HOST/…"},
        ),
    ] = None
    otel_prompts: Annotated[
        bool, Meta(description="Record prompts and answers of text generations in traces.")
    ] = False
    store: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Folder for downloaded and converted models. Default: in the user's data folder."),
    ] = None
    registry_url: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="JSON document that lists further models to serve, for example "
            "https://models.example/nacelle.json.",
            extra={"metavar": "URL"},
        ),
    ] = None
    registry_seconds: Annotated[
        Annotated[float, Meta(ge=0.1, le=604_800)],
        Meta(description="Time between two requests for the registry's document."),
    ] = 60.0
    registry_api_key_env: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")] | None,
        Meta(
            description="Environment variable that holds the bearer token for the registry. Default: none is "
            "sent.",
            extra={"metavar": "VARIABLE", "allowed": "the name of an environment variable"},
        ),
    ] = None
    faults: Annotated[
        bool,
        Meta(
            description="Inject the faults that markers in prompts request (for tests).",
            extra={"environment_only": True},
        ),
    ] = False
    serve_store: Annotated[
        bool,
        Meta(
            description="Serve the other models of the store as well, each loaded on demand. Always on if no "
            "model is named."
        ),
    ] = False
    aliases: Annotated[
        dict[Name, Name],
        Meta(
            description="Another name of a model in the API.",
            extra={"option": "--model-alias", "metavar": "ALIAS=MODEL", "allowed": "ALIAS=MODEL pairs"},
        ),
    ] = {}
    variants: Annotated[
        dict[Name, Annotated[dict[Name, Weight], Meta(min_length=1)]],
        Meta(
            description="A name whose requests are spread over several models by weight.",
            extra={
                "option": "--variant",
                "metavar": '"NAME=MODEL:WEIGHT ..."',
                "allowed": "models with weights for each name, such as chat=fast:0.9 careful:0.1",
            },
        ),
    ] = {}
    models: Annotated[
        list[ModelSettings], Meta(description="Models to serve.", extra={"metavar": "MODEL"})
    ] = []


def check_bind(settings: Settings, *, is_authenticated: bool | None = None) -> None:
    """Raises ConfigError if anyone who can reach the port could use the server.

    `is_authenticated`: whether there are keys or tokens; None: as the settings alone say.
    """
    if is_authenticated is None:
        is_authenticated = bool(settings.api_key or settings.api_keys)
    if is_authenticated or settings.allow_unauthenticated or is_loopback(settings.host):
        return
    raise ConfigError(
        f"refusing to listen on {settings.host} without an API key: set NACELLE_API_KEY, "
        "run nacelle keys add, or pass --allow-unauthenticated if access is restricted by other means"
    )


def memory_budgets(settings: Settings) -> dict[str, int]:
    """The memory budgets that are set, in bytes by device. Raises ConfigError."""
    budgets: dict[str, int] = {}
    for device, written in settings.memory_budget_gib.items():
        try:
            gib = float(written)
        except ValueError:
            gib = 0.0
        if not 0 < gib <= _MAX_BUDGET_GIB:
            raise ConfigError(
                f"memory_budget_gib: {device} must be a number of GiB above 0, not {written!r}; "
                "for example CPU=16"
            )
        budgets[device.upper()] = round(gib * GIB)
    return budgets


def is_loopback(host: str) -> bool:
    """Whether `host`, an address to listen on, can be reached only from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


_MAX_BUDGET_GIB = 65_536
_DEFAULT_DIVISOR = 4  # of the free memory; the rest is for weights and other processes
_DEFAULT_MIN = GIB // 4
_DEFAULT_MAX = 16 * GIB


def kv_cache_bytes(model: ModelSettings, available: int, replicas: int) -> int:
    """The KV cache budget of one replica of `model`, in bytes.

    `available` is the free memory of the machine, in bytes, and `replicas` is the number of replicas of all
    models that share it.
    """
    if model.kv_cache_gib is not None:
        return int(model.kv_cache_gib * GIB)
    share = available // _DEFAULT_DIVISOR // max(1, replicas)
    return min(max(share, _DEFAULT_MIN), _DEFAULT_MAX)
