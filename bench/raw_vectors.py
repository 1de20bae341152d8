"""The raw embedding pipeline: texts sorted by length, in calls of the best size, with no server around it.

What OpenVINO GenAI gives on this machine to somebody who knows all texts beforehand.
"""

from typing import Any

import openvino_genai

from bench.client import clock
from bench.stats import RequestRecord
from bench.vectors import VectorWorkload
from ipc.messages import Launch, VectorOptions

_CALL_SIZES = (16, 32, 64)
_TRIAL_TEXTS = 256

_POOLING = {
    "mean": openvino_genai.TextEmbeddingPipeline.PoolingType.MEAN,
    "cls": openvino_genai.TextEmbeddingPipeline.PoolingType.CLS,
    "last_token": openvino_genai.TextEmbeddingPipeline.PoolingType.LAST_TOKEN,
}


class RawEmbeddings:
    """A pipeline and what it takes to run workloads on it. The pooling makes no difference to its speed."""

    def __init__(self, launch: Launch[VectorOptions]) -> None:
        """Load the model. Raises whatever OpenVINO raises."""
        config = openvino_genai.TextEmbeddingPipeline.Config()
        config.pooling_type = _POOLING[launch.options.pooling or "mean"]
        config.normalize = launch.options.normalize is not False
        self._tokenizer = openvino_genai.Tokenizer(launch.path)
        self._pipeline = openvino_genai.TextEmbeddingPipeline(
            launch.path, launch.device, config, **launch.properties
        )
        self._call_size: int | None = None  # texts; the best one is found on the first workload

    def run(self, workload: VectorWorkload) -> list[RequestRecord]:
        """One record per call of the pipeline, whatever the workload's requests and their concurrency."""
        texts = sorted((text for texts in workload.inputs_by_request() for text in texts), key=len)
        if self._call_size is None:
            trial = texts[:: max(1, len(texts) // _TRIAL_TEXTS)]
            self._call_size = min(_CALL_SIZES, key=lambda size: self._trial_seconds(trial, size))
        return self._embed(texts, self._call_size)

    def _trial_seconds(self, texts: list[str], size: int) -> float:
        self._embed(texts, size)  # the first time, kernels are compiled
        records = self._embed(texts, size)
        return records[-1].finished - records[0].started

    def _embed(self, texts: list[str], size: int) -> list[RequestRecord]:
        records = []
        for first in range(0, len(texts), size):
            started = clock()
            self._pipeline.embed_documents(texts[first : first + size])
            records.append(RequestRecord(started, clock(), finish_reason="whole"))
        for record, first in zip(records, range(0, len(texts), size), strict=True):  # untimed
            record.prompt_tokens = self._tokens(texts[first : first + size])
        return records

    def _tokens(self, texts: list[str]) -> int:
        mask: Any = self._tokenizer.encode(texts).attention_mask.data
        return int(mask.sum())
