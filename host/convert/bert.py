"""Builds BERT and XLM-RoBERTa encoders from OpenVINO operations, with a classifier where the model has one.

The two differ in how they number positions and in their classifiers. The graph computes in float32.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from host.convert.errors import ConversionError
from host.convert.safetensors import Tensor

Weight = Callable[[str, tuple[int, ...]], Tensor]  # name and shape → values; raises ConversionError

Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
MASKED = np.finfo(np.float32).min  # as an attention bias: not seen
_CLASSIFIER = "ForSequenceClassification"
_DEFAULT_LABELS = 2  # of transformers


class BertConfig(msgspec.Struct, frozen=True):
    """What a config.json says of an encoder."""

    model_type: Literal["bert", "xlm-roberta"]
    vocab_size: Positive
    hidden_size: Positive
    num_hidden_layers: Annotated[int, Meta(ge=1, le=200)]
    num_attention_heads: Positive
    intermediate_size: Positive
    max_position_embeddings: Positive
    type_vocab_size: Positive = 2
    layer_norm_eps: Annotated[float, Meta(gt=0, lt=1)] = 1e-12
    hidden_act: Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"] = "gelu"
    position_embedding_type: Literal["absolute"] = "absolute"
    pad_token_id: Annotated[int, Meta(ge=0)] = 0
    architectures: list[str] = []
    num_labels: Positive | None = None
    id2label: dict[str, str] | None = None

    @property
    def is_classifier(self) -> bool:
        return any(name.endswith(_CLASSIFIER) for name in self.architectures)

    @property
    def labels(self) -> int:
        """The number of logits that a classifier yields."""
        return self.num_labels or len(self.id2label or {}) or _DEFAULT_LABELS

    @property
    def window(self) -> int:
        """The maximum number of tokens. XLM-RoBERTa counts its positions from beyond that of the padding."""
        offset = self.pad_token_id + 1 if self.model_type == "xlm-roberta" else 0
        return self.max_position_embeddings - offset


class BertBuilder:
    """Builds one model. Throughout: B texts, T tokens, H the hidden size."""

    def __init__(self, config: BertConfig, weight: Weight) -> None:
        """Raises ConversionError."""
        import openvino.opset15 as ops

        if config.hidden_size % config.num_attention_heads:
            raise ConversionError("config.json: hidden_size is not a multiple of num_attention_heads")
        if config.window < 1:
            raise ConversionError("config.json: max_position_embeddings is too small")
        self._config, self._weight, self._ops = config, weight, ops
        self._token_ids, self._mask, self._type_ids = (
            ops.parameter([-1, -1], np.int64, name=name)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        )

    def build(self) -> Any:
        """A Model from input_ids, attention_mask and token_type_ids, i64 [B, T], to last_hidden_state
        f32 [B, T, H] or, for a classifier, logits f32 [B, labels]."""
        import openvino

        inputs = [self._token_ids, self._mask, self._type_ids]
        for node in inputs:
            node.output(0).set_names({node.get_friendly_name()})
        hidden = self._embeddings()
        bias = self._attention_bias()
        for number in range(self._config.num_hidden_layers):
            hidden = self._layer(f"encoder.layer.{number}", hidden, bias)
        result = self._classifier(hidden) if self._config.is_classifier else hidden
        name = "logits" if self._config.is_classifier else "last_hidden_state"
        result.output(0).set_names({name})
        return openvino.Model([self._ops.result(result, name=name)], inputs, self._config.model_type)

    def _embeddings(self) -> Any:
        config = self._config
        tables = {
            "word": (config.vocab_size, self._token_ids),
            "token_type": (config.type_vocab_size, self._types()),
            "position": (config.max_position_embeddings, self._positions()),
        }
        words, types, positions = (
            self._ops.gather(
                self._constant(f"embeddings.{name}_embeddings.weight", rows, config.hidden_size), index, 0
            )
            for name, (rows, index) in tables.items()
        )
        total = self._ops.add(self._ops.add(words, types), positions)
        return self._layer_norm("embeddings.LayerNorm", total)

    def _types(self) -> Any:
        """i64 [B, T]"""
        return self._type_ids

    def _positions(self) -> Any:
        """i64 [T], or [B, T] for XLM-RoBERTa, where padding keeps a position of its own."""
        ops, padding = self._ops, self._config.pad_token_id
        if self._config.model_type == "bert":
            length = ops.gather(ops.shape_of(self._token_ids), np.int64(1), 0)
            return ops.range(np.int64(0), length, np.int64(1), output_type="i64")
        real = ops.convert(ops.not_equal(self._token_ids, np.int64(padding)), "i64")
        return ops.add(ops.multiply(ops.cum_sum(real, np.int64(1)), real), np.int64(padding))

    def _attention_bias(self) -> Any:
        """f32 [B, 1, 1, T]: 0 for tokens, a very low number for padding."""
        ops = self._ops
        hidden = ops.equal(ops.unsqueeze(self._mask, np.array([1, 2])), np.int64(0))
        return ops.select(hidden, MASKED, np.float32(0))

    def _layer(self, name: str, hidden: Any, bias: Any) -> Any:
        config, ops = self._config, self._ops
        attended = self._attention(f"{name}.attention.self", hidden, bias)
        attended = self._linear(f"{name}.attention.output.dense", attended, config.hidden_size)
        hidden = self._layer_norm(f"{name}.attention.output.LayerNorm", ops.add(attended, hidden))
        inner = self._linear(f"{name}.intermediate.dense", hidden, config.intermediate_size)
        outer = self._linear(
            f"{name}.output.dense", self._activation(inner), config.hidden_size, config.intermediate_size
        )
        return self._layer_norm(f"{name}.output.LayerNorm", ops.add(outer, hidden))

    def _attention(self, name: str, hidden: Any, bias: Any) -> Any:
        ops, heads = self._ops, self._config.num_attention_heads
        split = np.array([0, 0, heads, self._config.hidden_size // heads])
        swap = np.array([0, 2, 1, 3])  # [B, T, heads, size] ↔ [B, heads, T, size]
        query, key, value = (
            ops.transpose(
                ops.reshape(
                    self._linear(f"{name}.{part}", hidden, self._config.hidden_size), split, special_zero=True
                ),
                swap,
            )
            for part in ("query", "key", "value")
        )
        attended = ops.scaled_dot_product_attention(query, key, value, bias)
        return ops.reshape(ops.transpose(attended, swap), np.array([0, 0, -1]), special_zero=True)

    def _classifier(self, hidden: Any) -> Any:
        """From the first token: a dense layer, tanh, and another."""
        ops, config = self._ops, self._config
        first = ops.gather(hidden, np.int64(0), 1)
        dense, out = (
            ("pooler.dense", "classifier")
            if config.model_type == "bert"
            else ("classifier.dense", "classifier.out_proj")
        )
        return self._linear(out, ops.tanh(self._linear(dense, first, config.hidden_size)), config.labels)

    def _activation(self, values: Any) -> Any:
        if self._config.hidden_act == "relu":
            return self._ops.relu(values)
        return self._ops.gelu(values, "erf" if self._config.hidden_act == "gelu" else "tanh")

    def _linear(self, name: str, values: Any, outputs: int, inputs: int | None = None) -> Any:
        weight = self._constant(f"{name}.weight", outputs, inputs or self._config.hidden_size)
        product = self._ops.matmul(values, weight, False, True)
        return self._ops.add(product, self._constant(f"{name}.bias", outputs))

    def _layer_norm(self, name: str, values: Any) -> Any:
        ops, size = self._ops, self._config.hidden_size
        normal = ops.mvn(values, np.array([-1]), True, self._config.layer_norm_eps, "inside_sqrt")
        scaled = ops.multiply(normal, self._constant(f"{name}.weight", size))
        return ops.add(scaled, self._constant(f"{name}.bias", size))

    def _constant(self, name: str, *shape: int) -> Any:
        return self._ops.constant(self._weight(name, shape), name=name)
