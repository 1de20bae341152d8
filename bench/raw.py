"""The raw pipeline: add_request, step, read and detokenize in one thread, without a server.

This is the speed of OpenVINO GenAI itself on this machine. Loading and detokenizing use the host's own
code, so served ÷ raw shows the cost of serving and nothing else.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy
import openvino
import openvino_genai

from bench.client import clock
from bench.stats import RequestRecord
from bench.workload import Prompt, Workload
from host.detokenizer import Detokenizer, choose_detokenizer
from host.engines.pipeline import Pipeline
from host.model_folder import read_model_folder
from ipc.messages import Launch, TextOptions


class _Running(msgspec.Struct):
    handle: Any  # openvino_genai.GenerationHandle; dropping it stops the request
    stream: Any  # of the detokenizer
    max_tokens: int
    record: RequestRecord


class RawEngine:
    """A pipeline that runs workloads."""

    def __init__(self, launch: Launch[TextOptions]) -> None:
        """Load the model. Raises whatever OpenVINO raises."""
        self._tokenizer = openvino_genai.Tokenizer(launch.path)
        folder = read_model_folder(Path(launch.path))
        pipeline = Pipeline(launch, folder, self._tokenizer)
        self._pipeline = pipeline.native  # without the host's additions
        self._assist = pipeline.assist
        self._detokenizer: Detokenizer[Any] = choose_detokenizer(self._tokenizer)
        self._last_id = 0  # ids must never repeat in a pipeline's life

    def run(self, workload: Workload) -> list[RequestRecord]:
        """Run a greedy closed loop: each finished request is replaced at once."""
        waiting = iter(workload.prompts())
        config = self._config(workload)
        running: list[_Running] = []
        records: list[RequestRecord] = []
        while True:
            vacant = workload.concurrency - len(running)
            running += [self._add(prompt, config) for prompt in islice(waiting, vacant)]
            if not running:
                return records
            self._pipeline.step()
            running = self._read(running, records)

    def _add(self, prompt: Prompt, config: Any) -> _Running:
        started = clock()
        token_ids = self._tokenizer.encode(prompt).input_ids if isinstance(prompt, str) else _tensor(prompt)
        self._last_id += 1
        handle = self._pipeline.add_request(self._last_id, token_ids, config)
        record = RequestRecord(started, started, prompt_tokens=token_ids.shape[1], counted_from="engine")
        return _Running(handle, self._detokenizer.open(), config.max_new_tokens, record)

    def _config(self, workload: Workload) -> Any:
        config = self._pipeline.get_config()
        config.max_new_tokens = workload.max_tokens
        config.ignore_eos = workload.ignore_eos
        config.do_sample = False
        self._assist.apply(config)
        return config

    def _read(self, running: list[_Running], records: list[RequestRecord]) -> list[_Running]:
        """Read the output of one step; return the requests that are still running."""
        gained = [(request, ids) for request in running if (ids := _new_ids(request.handle))]
        texts = self._detokenizer.feed([(request.stream, ids) for request, ids in gained])
        now = clock()
        for (request, ids), text in zip(gained, texts, strict=True):
            request.record.output_tokens += len(ids)
            if text:
                request.record.arrivals.append(now)
        going_on = []
        for request in running:
            status = request.handle.get_status()
            if status == openvino_genai.GenerationStatus.RUNNING:
                going_on.append(request)
                continue
            record = request.record
            record.finished = now
            record.finish_reason = "length" if record.output_tokens == request.max_tokens else "stop"
            records.append(record)
            if status != openvino_genai.GenerationStatus.FINISHED:
                record.failure = status.name.lower()  # IGNORED: out of KV memory
        return going_on


def _new_ids(handle: Any) -> list[int]:
    ids: list[int] = []
    while handle.can_read():  # read() on an empty handle never returns
        for output in handle.read().values():
            ids += output.generated_ids
    return ids


def _tensor(token_ids: list[int]) -> Any:
    return openvino.Tensor(numpy.array([token_ids], dtype=numpy.int64))
