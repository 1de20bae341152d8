"""The native pipeline: its configuration, and the calls on it with their traps kept inside."""

import sys
from typing import Any

import openvino_genai as genai
from openvino import Core

from host.engines.adapters import adapter_config
from host.engines.batch import Batch, ImagePrompt
from host.engines.kv_cache import block_count, eviction
from host.engines.prefix_cache import PrefixCache
from host.engines.quantization import chosen_properties, given_properties
from host.engines.request import Handle, TextRequest
from host.engines.scoring import Scorer
from host.engines.speculation import Assist
from host.engines.stateful import OneAtATime, check_request, static_shape
from host.model_folder import ModelFolder, language_xml
from host.sampling import Choices
from ipc.kv_cache import block_tokens
from ipc.messages import FinishReason, Launch, TextOptions

# Comparing the enums themselves costs five times as much, once per token.
_NOT_FINISHED = genai.GenerationFinishReason.NONE.value
_FINISHED_BY_STOP = genai.GenerationFinishReason.STOP.value
_IGNORED = genai.GenerationStatus.IGNORED.value


class Pipeline:
    """ContinuousBatchingPipeline, fed with token ids."""

    def __init__(self, launch: Launch[TextOptions], folder: ModelFolder, tokenizer: genai.Tokenizer) -> None:
        """Load the model. Raises RuntimeError, LaunchError."""
        self.assist = Assist(launch.options.speculation)
        self.chosen = chosen_properties(launch, folder.path)
        options = _options(launch, folder, self.assist) | self.chosen
        self.native: Any
        self._shape = static_shape(launch) if launch.engine == "stateful" else None
        if self._shape is not None:
            self.native = OneAtATime(launch, self._shape, folder.path, tokenizer, options)
            self.kv_cache_tokens = (
                self._shape.total or launch.options.context_length or folder.context_length or sys.maxsize
            )
        else:
            beside = self.assist.block_bytes(launch.properties)
            blocks = block_count(
                launch.options.kv_cache_bytes, folder.kv_shape, launch.device, launch.properties, beside
            )
            self.kv_cache_tokens = blocks * block_tokens(launch.device)
            self.native = genai.ContinuousBatchingPipeline(
                folder.path, tokenizer, _scheduler(launch, blocks), launch.device, **options
            )
        self.eos_token_ids = set(folder.eos_token_ids) or _own_eos_token_ids(self.native, tokenizer)
        cache = _prefix_cache(launch, self.kv_cache_tokens)
        self._batch = Batch(
            self.native, cache, block_tokens(launch.device), launch.options.max_num_batched_tokens
        )
        self.scorer: Scorer | None = None  # where the pipeline gives log probabilities of prompts
        if _scores_prompts(launch):
            rows = folder.vocab_size or len(tokenizer.get_vocab())
            self.scorer = Scorer(
                self._batch, cache is not None, rows, block_tokens(launch.device), self.kv_cache_tokens
            )
        self.step = self._batch.step
        self.plan = self._batch.plan
        self.stop_pieces = self._batch.stop_pieces

    @property
    def short_of_room(self) -> bool:
        """Whether what generates will soon need more of the KV cache than there is, as far as is known."""
        return self._batch.short_of_room

    @property
    def starved(self) -> bool:
        """Whether a piece of a prompt found no room in the KV cache, and the whole is not in yet."""
        return self._batch.starved

    def check(self, choices: Choices, prompt_tokens: int, prompt_param: str) -> None:
        """Raise RequestRefused for a request that this kind of pipeline cannot serve."""
        if self._shape is not None:
            check_request(self._shape, choices, prompt_tokens, prompt_param)

    def add(self, request: TextRequest) -> bool:
        """Let a request generate from the next step on, if the plan has room for it. Raises RuntimeError."""
        ids, max_tokens, min_tokens = request.restart()
        end, cached = self._batch.take(ids)
        if end and request.cached_tokens is None:
            request.cached_tokens = min(cached, len(request.prompt_ids))
        if end < len(ids):
            if end:
                self._batch.add_piece(ids[:end])
            return False
        self._enter(request, ids, self._generation_config(request, max_tokens, min_tokens))
        return True

    def _enter(self, request: TextRequest, prompt: list[int] | ImagePrompt, config: Any) -> None:
        handle, request.sequence = self._batch.add(prompt, config)
        if request.poisoned:
            handle = _CollidingHandles(handle, self._batch.add_twin(prompt, config))
        request.handle = handle

    def drop(self, request: TextRequest) -> None:
        """Stop a request; it is gone after the next step."""
        self._batch.stop(request.handle, request.sequence)
        request.handle = request.sequence = None

    def read(self, request: TextRequest) -> list[int] | None:
        """The new tokens of a request, mostly one or none; None if the KV cache has no room for it.

        Sets the request's finish reason. Raises ReplayMismatch.
        """
        handle = request.handle
        assert handle is not None, "only requests inside the pipeline are read"
        ids: list[int] = []
        logprobs: list[float] = []
        while handle.can_read():  # read() on an empty handle would deadlock
            for output in handle.read().values():
                ids += output.generated_ids
                if request.choices.logprobs:
                    logprobs += output.generated_log_probs
                if (reason := output.finish_reason.value) != _NOT_FINISHED:
                    self._finish(request, reason, ids)
        if ids:
            if request.sequence is not None:
                request.sequence.ids += ids
            return request.accept(ids, logprobs)
        return None if handle.get_status().value == _IGNORED else ids

    def prompt_tokens(self, handle: Handle, restored: int) -> int | None:
        """Of an ended request's prompt, images included, of which the last `restored` were generated before.

        None if the pipeline does not report it.
        """
        try:
            return int(handle.get_perf_metrics().get_num_input_tokens()) - restored
        except RuntimeError:
            return None

    def load(self) -> tuple[int, float]:
        """Sequences scheduled in the last step, and the share of the KV cache in use then (0 to 1)."""
        metrics = self.native.get_metrics()
        return metrics.scheduled_requests, metrics.cache_usage / 100

    def finish_reason(self, request: TextRequest) -> FinishReason | None:
        """Why a request with these generated tokens has nothing more to generate, if so."""
        choices, generated = request.choices, request.generated
        ended = generated[-1] in self.eos_token_ids and len(generated) >= choices.min_tokens
        if ended and not choices.ignore_eos:
            return "stop"
        return "length" if len(generated) >= choices.max_tokens else None

    def _finish(self, request: TextRequest, reason: int, ids: list[int]) -> None:
        stopped = reason == _FINISHED_BY_STOP
        request.finish_reason = "stop" if stopped else "length"
        request.ended_by_eos = stopped and bool(ids) and ids[-1] in self.eos_token_ids
        self._batch.ended(request.sequence)

    def _generation_config(self, request: TextRequest, max_tokens: int, min_tokens: int) -> Any:
        choices = request.choices
        config = genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.min_new_tokens = min_tokens
        config.ignore_eos = choices.ignore_eos
        config.stop_token_ids = set() if choices.ignore_eos else self.eos_token_ids
        config.eos_token_id = min(self.eos_token_ids, default=-1)
        config.repetition_penalty = choices.repetition_penalty
        config.presence_penalty = choices.presence_penalty
        config.frequency_penalty = choices.frequency_penalty
        config.do_sample = choices.temperature > 0
        if config.do_sample:
            config.temperature = choices.temperature
            config.top_p = choices.top_p
            config.min_p = choices.min_p
            config.rng_seed = request.rng_seed
            if choices.top_k:
                config.top_k = choices.top_k
        config.logprobs = int(choices.logprobs)
        if choices.structural_tag:
            structured = genai.StructuredOutputConfig()
            structured.structural_tags_config = choices.structural_tag
            config.structured_output_config = structured
        self.assist.apply(config)
        return config


class _CollidingHandles:
    """Two requests of one id, in place of a handle: the step that samples both raises.

    A grammar that does not compile raises as well, but the process then crashed natively in 4 of about 1700
    recoveries (cause unknown), this way in none of 2000.
    """

    def __init__(self, *handles: Any) -> None:
        self._handles = handles

    def can_read(self) -> bool:
        return False

    def cancel(self) -> None:
        for handle in self._handles:
            handle.cancel()

    def get_status(self) -> Any:
        return self._handles[0].get_status()

    def get_perf_metrics(self) -> Any:
        return self._handles[0].get_perf_metrics()

    def read(self) -> dict[int, Any]:
        return {}


def _scores_prompts(launch: Launch[TextOptions]) -> bool:
    """Not of prompts with images, with a draft's tokens among the model's, or after evictions."""
    options = launch.options
    return launch.engine == "text" and options.speculation is None and not options.cache_eviction_tokens


def _prefix_cache(launch: Launch[TextOptions], tokens: int) -> PrefixCache | None:
    """An account of the pipeline's, where it keeps one by the rules that the account knows."""
    if launch.engine == "stateful" or not launch.options.prefix_caching:
        return None
    if launch.options.speculation is not None or launch.options.cache_eviction_tokens is not None:
        return None
    size = block_tokens(launch.device)
    return PrefixCache(tokens // size, size, launch.options.max_num_batched_tokens)


def _scheduler(launch: Launch[TextOptions], blocks: int) -> genai.SchedulerConfig:
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = blocks
    scheduler.max_num_seqs = launch.options.max_num_seqs
    scheduler.max_num_batched_tokens = launch.options.max_num_batched_tokens
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = launch.options.prefix_caching
    if launch.options.cache_eviction_tokens is not None:
        scheduler.use_cache_eviction = True
        scheduler.cache_eviction_config = genai.CacheEvictionConfig(
            *eviction(launch.options.cache_eviction_tokens, launch.device), genai.AggregationMode.NORM_SUM
        )
    return scheduler


def _options(launch: Launch[TextOptions], folder: ModelFolder, assist: Assist) -> dict[str, Any]:
    properties = given_properties(launch)
    options: dict[str, Any] = {**properties, **assist.options(launch.device, properties)}
    if launch.options.adapter is not None:
        options["adapters"] = adapter_config(launch.options.adapter, language_xml(folder.path))
    return options


def _own_eos_token_ids(native: Any, tokenizer: genai.Tokenizer) -> set[int]:
    """What the pipeline found in the model files by itself."""
    return set(native.get_config().stop_token_ids) or {
        token_id for token_id in [tokenizer.get_eos_token_id()] if token_id >= 0
    }


def device_name(device: str) -> str:
    """The device's full name, or the name it was asked for by where it has none (HETERO and the like)."""
    try:
        return str(Core().get_property(device, "FULL_DEVICE_NAME"))
    except RuntimeError:
        return device
