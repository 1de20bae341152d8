"""The native pipeline: its configuration, and the calls on it with their traps kept inside."""

from typing import Any

import numpy as np
import openvino_genai as genai
from openvino import Core, Tensor

from host.engines.kv_cache import block_count, block_tokens
from host.engines.request import TextRequest
from host.model_folder import ModelFolder
from ipc.messages import FinishReason, Launch

_NOT_FINISHED = genai.GenerationFinishReason.NONE
_FINISHED_BY_STOP = genai.GenerationFinishReason.STOP
_IGNORED = genai.GenerationStatus.IGNORED


class Pipeline:
    """ContinuousBatchingPipeline, fed with token ids."""

    def __init__(self, launch: Launch, folder: ModelFolder, tokenizer: genai.Tokenizer) -> None:
        """Load the model. Raises RuntimeError."""
        blocks = block_count(launch.kv_cache_bytes, folder.kv_shape, launch.device, launch.properties)
        self.kv_cache_tokens = blocks * block_tokens(launch.device)
        self.native = genai.ContinuousBatchingPipeline(
            folder.path, tokenizer, _scheduler(launch, blocks), launch.device, **_properties(launch)
        )
        self._eos_token_ids = set(folder.eos_token_ids) or _own_eos_token_ids(self.native, tokenizer)
        self._last_id = 0  # the pipeline never forgets an id, and a re-add needs a new one
        self.step = self.native.step

    def add(self, request: TextRequest, ids: list[int], max_tokens: int, min_tokens: int) -> Any:
        """Start generating after `ids` and return the handle, which must be kept. Raises RuntimeError."""
        self._last_id += 1
        config = self._generation_config(request, max_tokens, min_tokens)
        tensor = Tensor(np.array([ids], dtype=np.int64))
        handle = self.native.add_request(self._last_id, tensor, config)
        if request.poisoned:
            return _Twins(handle, self.native.add_request(self._last_id, tensor, config))
        return handle

    def read(self, request: TextRequest) -> list[int] | None:
        """The new tokens of a request, mostly one or none; None if the KV cache has no room for it.

        Sets the request's finish reason. Raises ReplayMismatch.
        """
        handle = request.handle
        assert handle is not None, "only requests inside the pipeline are read"
        ids: list[int] = []
        while handle.can_read():  # read() on an empty handle would deadlock
            for output in handle.read().values():
                ids += output.generated_ids
                if output.finish_reason != _NOT_FINISHED:
                    self._finish(request, output.finish_reason, ids)
        if ids:
            return request.accept(ids)
        return None if handle.get_status() == _IGNORED else ids

    def load(self) -> tuple[int, float]:
        """Sequences scheduled in the last step, and the share of the KV cache in use then (0 to 1)."""
        metrics = self.native.get_metrics()
        return metrics.scheduled_requests, metrics.cache_usage / 100

    def finish_reason(self, request: TextRequest) -> FinishReason | None:
        """Why a request with these generated tokens has nothing more to generate, if so."""
        choices, generated = request.choices, request.generated
        ended = generated[-1] in self._eos_token_ids and len(generated) >= choices.min_tokens
        if ended and not choices.ignore_eos:
            return "stop"
        return "length" if len(generated) >= choices.max_tokens else None

    def _finish(self, request: TextRequest, reason: Any, ids: list[int]) -> None:
        stopped = reason == _FINISHED_BY_STOP
        request.finish_reason = "stop" if stopped else "length"
        request.ended_by_eos = stopped and bool(ids) and ids[-1] in self._eos_token_ids

    def _generation_config(self, request: TextRequest, max_tokens: int, min_tokens: int) -> Any:
        choices = request.choices
        config = genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.min_new_tokens = min_tokens
        config.ignore_eos = choices.ignore_eos
        config.stop_token_ids = set() if choices.ignore_eos else self._eos_token_ids
        config.eos_token_id = min(self._eos_token_ids, default=-1)
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
        return config


class _Twins:
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

    def get_status(self) -> object:
        return self._handles[0].get_status()


def _scheduler(launch: Launch, blocks: int) -> genai.SchedulerConfig:
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = blocks
    scheduler.max_num_seqs = launch.max_num_seqs
    scheduler.max_num_batched_tokens = launch.max_num_batched_tokens
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = launch.prefix_caching
    return scheduler


def _properties(launch: Launch) -> dict[str, str]:
    if launch.threads and launch.device.startswith("CPU"):
        return {"INFERENCE_NUM_THREADS": str(launch.threads), **launch.properties}
    return launch.properties


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
