"""Finds the setting that somebody meant by another name: a slip of the pen, or the name in another server."""

from collections.abc import Collection
from typing import NamedTuple

from frontend.config_values import similar

# As llama-server, vLLM, Ollama, TGI and SGLang call what is a setting here.
_ELSEWHERE = {
    "context_length": "c ctx ctx_size ctx_len context context_size context_window n_ctx num_ctx max_context "
    "max_model_len max_seq_len max_sequence_length max_total_tokens ollama_context_length",
    "max_num_seqs": "np parallel n_parallel num_parallel slots max_batch_size max_running_requests "
    "max_concurrent_requests max_concurrency concurrency",
    "max_num_batched_tokens": "b ub batch_size ubatch_size n_batch max_batch_prefill_tokens "
    "chunked_prefill_size",
    "max_batch_tokens": "max_batch_total_tokens",
    "threads": "t n_threads num_threads threads_batch tb num_thread cpu_threads",
    "name": "alias a served_model_name model_name model_id",
    "models": "m model source hf hf_repo hfr hf_file hff model_url mu",
    "device": "dev devices target_device ngl gpu_layers n_gpu_layers num_gpu gpu main_gpu mg",
    "replicas": "dp data_parallel_size num_replicas instances workers",
    "kv_cache_gib": "kv_cache_memory kv_cache_size kv_cache_memory_bytes kv_cache_space cache_size cache_ram "
    "gpu_memory_utilization mem_fraction_static num_gpu_blocks_override vllm_cpu_kvcache_space",
    "kv_cache_precision": "ctk ctv cache_type_k cache_type_v kv_cache_dtype kv_cache_type",
    "prefix_caching": "enable_prefix_caching cache_prompt enable_radix_cache prompt_cache",
    "draft_model": "md model_draft speculative_model speculative_draft_model_path",
    "draft_device": "device_draft devd",
    "num_assistant_tokens": "draft draft_n draft_max num_speculative_tokens speculative_num_draft_tokens",
    "prompt_lookup": "lookup ngram_lookup",
    "adapters": "lora lora_modules lora_scaled lora_adapters",
    "chat_template": "chat_template_file template",
    "tool_format": "tool_call_parser",
    "reasoning_format": "reasoning_parser",
    "generation_defaults": "temp temperature top_p top_k min_p repeat_penalty repetition_penalty n_predict "
    "num_predict max_tokens override_generation_config default_generation_params",
    "properties": "ov_config config_properties",
    "task": "embedding embeddings reranking rerank runner",
    "host": "listen bind address bind_address ip hostname ollama_host",
    "port": "p http_port listen_port",
    "api_key": "key token auth_token api_token",
    "api_keys_file": "api_key_file key_file keys_file",
    "tls_certificate": "ssl_certfile ssl_cert_file certfile tls_cert tls_cert_file",
    "tls_key": "ssl_keyfile ssl_key_file keyfile tls_key_file",
    "allow_unauthenticated": "no_api_key no_auth disable_auth insecure",
    "allowed_hosts": "allow_host trusted_hosts trusted_host",
    "allowed_origins": "cors cors_origin cors_origins cors_allow_origin cors_allow_origins origins "
    "ollama_origins",
    "max_body_bytes": "max_request_size max_body_size",
    "max_images": "limit_mm_per_prompt",
    "allowed_media_domains": "media_domains",
    "media_fetch_seconds": "image_fetch_timeout vllm_image_fetch_timeout",
    "request_timeout_seconds": "timeout to request_timeout",
    "max_queue": "max_queue_size max_queued_requests ollama_max_queue",
    "load_seconds": "load_timeout ollama_load_timeout",
    "drain_seconds": "shutdown_timeout grace_period timeout_graceful_shutdown",
    "log_level": "v verbose verbosity debug lv log_verbosity uvicorn_log_level loglevel",
    "log_format": "log_json json_logs",
    "store": "models_dir model_dir model_path download_dir cache_dir ollama_models hf_home",
    "session_store": "session_url sessions redis_url database",
}
# What is always so here, or has no counterpart: it can be left out.
_NEEDLESS = (
    "jinja fa flash_attn mlock no_mmap mmap cont_batching cb trust_remote_code enforce_eager "
    "enable_auto_tool_choice enable_chunked_prefill metrics dtype quantization q disable_log_requests "
    "disable_log_stats no_webui warmup no_warmup props slots endpoint_metrics numa defrag_thold dt "
    "kv_unified kvu swa_full context_shift no_context_shift load_format tokenizer tokenizer_mode enable_lora "
    "nowordwrap interactive conversation cnv no_cnv color colors insecure simple_io special multiline_input"
)
# Without a counterpart, and why.
_NONE = {
    "tensor_parallel_size tp pipeline_parallel_size pp split_mode sm tensor_split ts": "a model runs on one "
    "device, or on several with --device HETERO:GPU.0,GPU.1; --replicas starts copies",
    "n_cpu_moe cpu_moe override_tensor ot cpu_offload_gb swap_space": "weights stay on their device",
    "mmproj mm mmproj_url": "the folder of a vision model holds all of its parts",
    "rope_scaling rope_scale rope_freq_base rope_freq_scale rope_theta yarn_orig_ctx": "the files of a model "
    "determine its positions",
    "ssl_ca_certs": "put a proxy in front that checks certificates of clients",
    "grammar grammar_file json_schema guided_decoding_backend structured_outputs_config": "requests carry "
    "it, as response_format",
    "system_prompt system_prompt_file sys": "requests carry it, as the message with the role system",
    "path no_ui webui": "there is no web page; point any OpenAI client at the server",
    "hf_token hft": "set the variable HF_TOKEN",
}
_REASONS = {word: reason for words, reason in _NONE.items() for word in words.split()}
# What `nacelle run` calls what others call otherwise.
_OF_A_REQUEST = {
    "temperature": "temp",
    "max_tokens": "n n_predict num_predict predict max_new_tokens max_completion_tokens",
    "system": "sys system_prompt s",
    "think": "hidethinking enable_thinking reasoning thinking reasoning_effort no_reasoning",
    "prompt": "p message user_prompt",
    "files": "f input_file prompt_file attach attachment",
    "images": "img picture",
    "as_json": "output_json json_output",
    "keep_alive": "keepalive ttl",
    "url": "host port base_url server endpoint api_base openai_api_base",
}
_REQUEST = {word: name for name, words in _OF_A_REQUEST.items() for word in words.split()}
_SETTINGS = {word: setting for setting, words in _ELSEWHERE.items() for word in words.split()}
_MIN_PREFIX = 4  # characters that a beginning must have to stand for a whole name


class Guess(NamedTuple):
    """`setting` is the name of a settings Struct's field; empty if there is none, or none is needed."""

    setting: str = ""
    needless: bool = False
    reason: str = ""  # why there is no counterpart


def guess(name: str, settings: Collection[str]) -> Guess:
    """What `name` may mean: an option without its dashes, a key, or a variable without its prefix.

    `settings` are those that may be suggested.
    """
    word = name.lower().replace("-", "_").strip("_")
    for candidate in (word, word.removeprefix("no_"), word.removeprefix("enable_")):
        if candidate in settings:
            return Guess(candidate)
        for elsewhere in (_SETTINGS, _REQUEST):
            if (setting := elsewhere.get(candidate)) in settings:
                return Guess(str(setting))
    if word in _NEEDLESS.split():
        return Guess(needless=True)
    if word in _REASONS:
        return Guess(reason=_REASONS[word])
    if close := similar(word, settings):
        return Guess(close)
    begun = sorted(setting for setting in settings if setting.startswith(word))
    return Guess(begun[0]) if begun and len(word) >= _MIN_PREFIX else Guess()
