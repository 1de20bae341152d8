"""A stand-in for a cross-encoder, because no package ships a real one: MiniLM in the shape of one.

It takes the tokens of a pair and yields one logit, but reads the two texts apart from each other: a token
attends to its own text only, and the logit follows the cosine of the two mean vectors. So it ranks texts as
MiniLM's embeddings do, in one pass. Tests with it show how rerankers are served, not how well they rank.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from host.convert.bert import MASKED, BertBuilder
from host.convert.encoder import read_config, read_encoder_folder, save_encoder
from tests.models.cache import cached

_RECIPE = 1
_SCALE, _THRESHOLD = 10.0, 0.35  # logit = scale * (cosine - threshold)
_COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def cross_encoder(minilm: Path) -> Path:
    """The IR folder of the stand-in. `minilm` is the catalogue's IR folder; its source is kept beside it."""
    name = f"cross-encoder-{_RECIPE}-{metadata.version('openvino')}"
    return cached(name, lambda folder: _build(minilm.parent / "source", folder))


def _build(source: Path, folder: Path) -> None:
    original = read_encoder_folder(source)
    facts = json.loads(original.files["config.json"])
    facts |= {"architectures": ["BertForSequenceClassification"], "num_labels": 1}
    facts |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    config = json.dumps(facts).encode()
    files = {name: original.files[name] for name in _COPIED} | {"config.json": config}
    save_encoder(original._replace(config=read_config(config), files=files), folder, _CrossEncoderBuilder)


class _CrossEncoderBuilder(BertBuilder):
    """The token types tell the two texts apart, and no more: 0 for the first, 1 for the second."""

    def _types(self) -> Any:
        return self._ops.multiply(self._type_ids, np.int64(0))

    def _positions(self) -> Any:
        """Those of the second text begin with 1, as if it stood alone after a [CLS]."""
        ops = self._ops
        length = ops.gather(ops.shape_of(self._token_ids), np.int64(1), 0)
        running = ops.range(np.int64(0), length, np.int64(1), output_type="i64")
        first = ops.multiply(ops.subtract(np.int64(1), self._type_ids), self._mask)
        before = ops.subtract(ops.reduce_sum(first, np.array([1]), keep_dims=True), np.int64(1))
        positions = ops.subtract(running, ops.multiply(self._type_ids, before))
        return ops.clamp(positions, 0, self._config.max_position_embeddings - 1)

    def _attention_bias(self) -> Any:
        """f32 [B, 1, T, T]: 0 between tokens of one text."""
        ops = self._ops
        rows, columns = (ops.unsqueeze(self._type_ids, np.array(axes)) for axes in ([1, 3], [1, 2]))
        real = ops.equal(ops.unsqueeze(self._mask, np.array([1, 2])), np.int64(1))
        seen = ops.logical_and(ops.equal(rows, columns), real)
        return ops.select(seen, np.float32(0), MASKED)

    def _classifier(self, hidden: Any) -> Any:
        ops = self._ops
        first, second = (
            self._mean(hidden, ops.multiply(chosen, self._mask))
            for chosen in (ops.subtract(np.int64(1), self._type_ids), self._type_ids)
        )
        unit = [ops.normalize_l2(vector, np.array([1]), 1e-12, "max") for vector in (first, second)]
        cosine = ops.reduce_sum(ops.multiply(*unit), np.array([1]), keep_dims=True)
        return ops.multiply(ops.subtract(cosine, np.float32(_THRESHOLD)), np.float32(_SCALE))

    def _mean(self, hidden: Any, chosen: Any) -> Any:
        """f32 [B, H], of the tokens where `chosen`, i64 [B, T], is 1."""
        ops = self._ops
        weights = ops.convert(ops.unsqueeze(chosen, np.array([2])), "f32")
        total = ops.reduce_sum(ops.multiply(hidden, weights), np.array([1]))
        count = ops.maximum(ops.reduce_sum(weights, np.array([1])), np.float32(1))
        return ops.divide(total, count)
