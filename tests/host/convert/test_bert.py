"""The encoder's graph, against a second, plain calculation with numpy."""

import json
from math import erf
from typing import Any

import numpy as np
import openvino as ov
import pytest

from host.convert.bert import BertBuilder, BertConfig
from host.convert.encoder import read_config
from host.convert.errors import ConversionError
from host.convert.safetensors import Tensor
from tests.exact import F32

FACTS = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
TOKENS = np.array([[2, 7, 9, 3, 11], [2, 30, 3, 1, 1]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
TYPES = np.array([[0, 0, 1, 1, 1], [0, 0, 1, 0, 0]])


class Weights:
    """Random values for whatever is asked for, always the same under one name."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[int, ...]] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.asked[name] = shape
        random = np.random.default_rng(list(name.encode()))
        return random.normal(0, 0.5, shape).astype(np.float32)


def run(config: BertConfig) -> Tensor:
    compiled = ov.Core().compile_model(BertBuilder(config, Weights()).build(), "CPU", F32)
    result: Tensor = compiled({"input_ids": TOKENS, "attention_mask": MASK, "token_type_ids": TYPES})[0]
    return result


class Plain:
    """The same model in numpy, a text at a time and without padding."""

    def __init__(self, config: BertConfig) -> None:
        self.config, self.weight = config, Weights()

    def linear(self, name: str, x: Tensor, outputs: int) -> Any:
        weight = self.weight(f"{name}.weight", (outputs, x.shape[-1]))
        return x @ weight.T + self.weight(f"{name}.bias", (outputs,))

    def norm(self, name: str, x: Tensor) -> Any:
        size = (x.shape[-1],)
        normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(
            x.var(-1, keepdims=True) + self.config.layer_norm_eps
        )
        return normal * self.weight(f"{name}.weight", size) + self.weight(f"{name}.bias", size)

    def activation(self, x: Tensor) -> Any:
        if self.config.hidden_act == "relu":
            return np.maximum(x, 0)
        if self.config.hidden_act == "gelu":
            return x * (1 + np.vectorize(erf)(x / 2**0.5)) / 2
        return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2

    def hidden(self, tokens: Tensor, types: Tensor) -> Any:
        """[T, H]"""
        config, size = self.config, self.config.hidden_size
        first = config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0
        tables = {
            "word": (config.vocab_size, tokens),
            "token_type": (config.type_vocab_size, types),
            "position": (config.max_position_embeddings, np.arange(len(tokens)) + first),
        }
        x = sum(
            self.weight(f"embeddings.{name}_embeddings.weight", (rows, size))[index]
            for name, (rows, index) in tables.items()
        )
        x = self.norm("embeddings.LayerNorm", x)
        for number in range(config.num_hidden_layers):
            x = self.layer(f"encoder.layer.{number}", x)
        return x

    def layer(self, name: str, x: Tensor) -> Any:
        size, heads = self.config.hidden_size, self.config.num_attention_heads
        q, k, v = (
            self.linear(f"{name}.attention.self.{part}", x, size).reshape(len(x), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / (size // heads) ** 0.5)
        attended = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(x), size)
        attended = self.linear(f"{name}.attention.output.dense", attended, size)
        x = self.norm(f"{name}.attention.output.LayerNorm", x + attended)
        inner = self.activation(self.linear(f"{name}.intermediate.dense", x, self.config.intermediate_size))
        return self.norm(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", inner, size))

    def logits(self, hidden: Tensor) -> Any:
        names = ("pooler.dense", "classifier")
        if self.config.model_type == "xlm-roberta":
            names = ("classifier.dense", "classifier.out_proj")
        dense = np.tanh(self.linear(names[0], hidden[:1], self.config.hidden_size))
        return self.linear(names[1], dense, self.config.labels)[0]


def config(**changes: Any) -> BertConfig:
    return read_config(json.dumps(FACTS | changes).encode())


XLM_ROBERTA = {"model_type": "xlm-roberta", "pad_token_id": 1, "architectures": ["XLMRobertaModel"]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "relu"},
        {"layer_norm_eps": 0.5},
        {"type_vocab_size": 3},
        XLM_ROBERTA,
    ],
    ids=str,
)
def test_hidden_states_are_those_of_a_plain_calculation(changes: dict[str, Any]) -> None:
    model = config(**changes)
    found = run(model)
    assert found.shape == (2, 5, 16)
    for row, length in enumerate(MASK.sum(axis=1)):
        expected = Plain(model).hidden(TOKENS[row, :length], TYPES[row, :length])
        assert np.abs(found[row, :length] - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"architectures": ["BertForSequenceClassification"], "num_labels": 1}, 1),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}, 3),
        ({"architectures": ["BertForSequenceClassification"]}, 2),
        (XLM_ROBERTA | {"architectures": ["XLMRobertaForSequenceClassification"], "num_labels": 1}, 1),
    ],
    ids=str,
)
def test_logits_are_those_of_a_plain_calculation(changes: dict[str, Any], labels: int) -> None:
    model = config(**changes)
    found = run(model)
    assert found.shape == (2, labels)
    for row, length in enumerate(MASK.sum(axis=1)):
        plain = Plain(model)
        expected = plain.logits(plain.hidden(TOKENS[row, :length], TYPES[row, :length]))
        assert np.abs(found[row] - expected).max() < 1e-4


def test_a_weight_that_is_missing_ends_the_build() -> None:
    def lacking(name: str, shape: tuple[int, ...]) -> Tensor:
        if name == "encoder.layer.1.output.dense.bias":
            raise ConversionError(f"the tensor {name} is missing")
        return Weights()(name, shape)

    with pytest.raises(ConversionError, match=r"encoder\.layer\.1\.output\.dense\.bias is missing"):
        BertBuilder(config(), lacking).build()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "llama"}, "llama"),
        ({"hidden_act": "silu"}, "silu"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"hidden_size": "x"}, "hidden_size"),
        ({"layer_norm_eps": -1}, "layer_norm_eps"),
    ],
)
def test_a_configuration_that_is_not_supported_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConversionError, match=f"config.json: .*{reason}"):
        config(**changes)


@pytest.mark.parametrize(
    "changes", [{"num_attention_heads": 5}, XLM_ROBERTA | {"max_position_embeddings": 2}], ids=str
)
def test_sizes_that_do_not_fit_together_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match=r"config\.json: (hidden_size|max_position_embeddings) is"):
        BertBuilder(config(**changes), Weights())
