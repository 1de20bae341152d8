"""One request at a time, for devices without batching: LLMPipeline with ContinuousBatchingPipeline's calls.

`generate()` runs in a thread and releases the GIL, so that `step()` returns soon whatever the device does.
"""

import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import openvino_genai as genai

from host.engines.base import RequestRefused
from host.sampling import Choices
from host.stall import StallBudget
from ipc.errors import ErrorCode
from ipc.messages import Launch, TextOptions

_STEP_SECONDS = 0.02  # the longest step; a cancel waits for it, and then for the token under way
_NPU_PROMPT = 1024  # tokens, where nothing says otherwise: the engine's own values
_NPU_ANSWER = 128
_NOT_FINISHED = genai.GenerationFinishReason.NONE


class StaticShape(NamedTuple):
    """How many tokens the engine takes. None: no bound but the model's context."""

    prompt: int | None
    total: int | None


def static_shape(launch: Launch[TextOptions]) -> StaticShape:
    """What an NPU's graph is compiled for. Elsewhere only the property MAX_PROMPT_LEN bounds anything."""
    asked = launch.properties
    prompt = int(asked["MAX_PROMPT_LEN"]) if "MAX_PROMPT_LEN" in asked else None
    if not launch.device.startswith("NPU"):
        return StaticShape(prompt, None)
    answer = int(asked.get("MIN_RESPONSE_LEN", _NPU_ANSWER))
    if prompt is None:
        context = launch.options.context_length
        prompt = max(1, context - answer) if context else _NPU_PROMPT
    return StaticShape(prompt, prompt + answer)


def check_request(shape: StaticShape, choices: Choices, prompt_tokens: int, prompt_param: str) -> None:
    """Raise RequestRefused for what the engine cannot do. `prompt_tokens`: with those to go on after."""
    if choices.logprobs:
        raise RequestRefused(
            ErrorCode.INVALID_VALUE, "this model's engine gives no log probabilities", "logprobs"
        )
    if shape.prompt is not None and prompt_tokens > shape.prompt:
        raise RequestRefused(
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            f"this model's engine takes at most {shape.prompt} tokens of prompt, not {prompt_tokens}",
            prompt_param,
        )


class Output(NamedTuple):
    """The part of openvino_genai.GenerationOutput that is read."""

    generated_ids: list[int]
    finish_reason: Any
    generated_log_probs: list[float]  # never any: LLMPipeline does not give them by token


class Metrics(NamedTuple):
    """The part of openvino_genai.PipelineMetrics that is read."""

    scheduled_requests: int
    cache_usage: float


class Job(genai.StreamerBase):  # type: ignore[misc]
    """One request: the handle that is read, and the streamer that the engine's thread writes to."""

    def __init__(
        self, request_id: int, token_ids: Any, config: Any, wake: threading.Event, budget: StallBudget
    ) -> None:
        super().__init__()
        self.request_id = request_id
        self.token_ids = token_ids
        self.config = config
        self.cancelled = False
        self._budget = budget
        self.progressed_at = budget.now()
        self._made = 0
        self._finished = False
        self._outputs: deque[Output] = deque()  # at most max_new_tokens
        self._wake = wake

    def write(self, token: int | list[int]) -> Any:
        """Called by the engine for each token. If it raised, the engine would stay busy for ever."""
        self.progressed_at = self._budget.now()
        if self.cancelled:
            return genai.StreamingStatus.CANCEL
        for token_id in token if isinstance(token, list) else [token]:
            self._made += 1
            self._put([token_id], self._finish_reason(token_id))
        return genai.StreamingStatus.RUNNING

    def end(self) -> None: ...

    def close(self) -> None:
        """The engine is done with it. An NPU ends before the request does when its graph is full."""
        if not self._finished:
            self._put([], genai.GenerationFinishReason.LENGTH)

    def _finish_reason(self, token_id: int) -> Any:
        """Known with the last token, so that nobody waits for `generate` to return."""
        config = self.config
        if token_id in config.stop_token_ids and self._made >= config.min_new_tokens:
            return genai.GenerationFinishReason.STOP
        return genai.GenerationFinishReason.LENGTH if self._made >= config.max_new_tokens else _NOT_FINISHED

    def _put(self, ids: list[int], reason: Any) -> None:
        self._finished = reason != _NOT_FINISHED
        self._outputs.append(Output(ids, reason, []))
        self._wake.set()

    def can_read(self) -> bool:
        return bool(self._outputs)

    def read(self) -> dict[int, Output]:
        return {0: self._outputs.popleft()}

    def get_status(self) -> Any:
        return genai.GenerationStatus.FINISHED if self._finished else genai.GenerationStatus.RUNNING

    def cancel(self) -> None:
        self.cancelled = True


class OneAtATime:
    """The calls that `Pipeline` makes on a ContinuousBatchingPipeline, made on an LLMPipeline.

    As there, a second request of one id fails in `step()`. If a token takes longer than `stall_seconds`, the
    engine is lost: the progress page cannot show that, for steps are short.
    """

    def __init__(
        self,
        launch: Launch[TextOptions],
        shape: StaticShape,
        path: Path,
        tokenizer: genai.Tokenizer,
        options: Mapping[str, Any],
    ) -> None:
        """`options` are the pipeline's keyword arguments. Raises RuntimeError."""
        self._max_prompt = shape.prompt
        self._budget = StallBudget(launch.stall_seconds)
        self._pipeline = genai.LLMPipeline(path, tokenizer, launch.device, **_options(options, shape))
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()  # the first is under way; a cancelled one stays only there
        self._failures: deque[tuple[Job, Exception]] = deque()
        threading.Thread(target=self._work, name="generate", daemon=True).start()

    def get_config(self) -> Any:
        return self._pipeline.get_generation_config()

    def get_metrics(self) -> Metrics:
        return Metrics(min(1, len(self._jobs)), 0.0)

    def add_request(self, request_id: int, token_ids: Any, config: Any) -> Job:
        """Raises RuntimeError for a prompt that the graph does not hold: an NPU answers it with garbage."""
        if self._max_prompt is not None and token_ids.get_shape()[1] > self._max_prompt:
            raise RuntimeError(f"the prompt exceeds {self._max_prompt} tokens")
        job = Job(request_id, token_ids, config, self._wake, self._budget)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job

    def step(self) -> None:
        """Wait a moment for tokens. Raises RuntimeError, EngineLost."""
        self._wake.wait(_STEP_SECONDS)
        self._wake.clear()
        with self._changed:
            for job in [job for job in list(self._jobs)[1:] if job.cancelled]:
                self._jobs.remove(job)
            ids = [job.request_id for job in self._jobs if not job.cancelled]
            running = self._jobs[0] if self._jobs else None
        while self._failures:
            job, error = self._failures.popleft()
            if not job.cancelled:
                raise RuntimeError(str(error)) from error
        if len(set(ids)) < len(ids):
            raise RuntimeError("two requests have one id")
        if running is not None:
            self._budget.check(running.progressed_at, "no token came")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs))
                job = self._jobs[0]
            job.progressed_at = self._budget.now()
            try:
                if not job.cancelled:
                    self._pipeline.generate(job.token_ids, job.config, job)
                job.close()
            except Exception as error:
                self._failures.append((job, error))
                self._wake.set()
            with self._changed:
                self._jobs.popleft()


def _options(options: Mapping[str, Any], shape: StaticShape) -> dict[str, Any]:
    """MAX_PROMPT_LEN and MIN_RESPONSE_LEN are properties of an NPU alone."""
    others = {
        name: value for name, value in options.items() if name not in ("MAX_PROMPT_LEN", "MIN_RESPONSE_LEN")
    }
    if shape.prompt is None or shape.total is None:
        return others | {"ATTENTION_BACKEND": "SDPA"}  # or it would be continuous batching inside
    return others | {"MAX_PROMPT_LEN": shape.prompt, "MIN_RESPONSE_LEN": shape.total - shape.prompt}
