"""Builds the OpenVINO graphs of Whisper's encoder and decoder in the form that OpenVINO GenAI expects.

Throughout: B windows of audio, T tokens after P others, S encoded frames, M mel bins, H the model's width.
"""

from typing import Any

import numpy as np

from host.convert.bert import MASKED, Weight
from host.convert.compressed import float16_constant, int8_constant
from host.convert.whisper_config import WhisperConfig

_EPSILON = 1e-5  # of the layer norms, which no configuration states
_FRAMES_JOINED = 3  # by a convolution
_SWAP = np.array([0, 2, 1, 3])  # [B, T, heads, size] ↔ [B, heads, T, size]


class _Layers:
    """What encoder and decoder are built from. `weight` has the names of a Hugging Face folder."""

    def __init__(self, config: WhisperConfig, weight: Weight) -> None:
        import openvino.opset15 as ops

        self._config, self._weight, self._ops = config, weight, ops

    def _projected(self, name: str, values: Any, heads: int, *, bias: bool = True) -> Any:
        """f32 [B, heads, T, H / heads]"""
        width = self._config.d_model
        projection = self._linear(name, values, width, width, bias=bias)
        split = np.array([0, 0, heads, width // heads])
        return self._ops.transpose(self._ops.reshape(projection, split, special_zero=True), _SWAP)

    def _joined(self, name: str, attended: Any) -> Any:
        """The result of all heads, f32 [B, T, H]."""
        ops, width = self._ops, self._config.d_model
        joined = ops.reshape(ops.transpose(attended, _SWAP), np.array([0, 0, width]), special_zero=True)
        return self._linear(name, joined, width, width)

    def _feed_forward(self, name: str, hidden: Any, inner: int) -> Any:
        width = self._config.d_model
        normal = self._layer_norm(f"{name}.final_layer_norm", hidden)
        values = self._ops.gelu(self._linear(f"{name}.fc1", normal, width, inner), "erf")
        return self._ops.add(hidden, self._linear(f"{name}.fc2", values, inner, width))

    def _linear(self, name: str, values: Any, inputs: int, outputs: int, *, bias: bool = True) -> Any:
        weight = int8_constant(self._weight(f"{name}.weight", (outputs, inputs)), f"{name}.weight")
        product = self._ops.matmul(values, weight, False, True)
        return self._ops.add(product, self._constant(f"{name}.bias", outputs)) if bias else product

    def _layer_norm(self, name: str, values: Any) -> Any:
        ops, width = self._ops, self._config.d_model
        normal = ops.mvn(values, np.array([-1]), True, _EPSILON, "inside_sqrt")
        scaled = ops.multiply(normal, self._constant(f"{name}.weight", width))
        return ops.add(scaled, self._constant(f"{name}.bias", width))

    def _constant(self, name: str, *shape: int) -> Any:
        return float16_constant(self._weight(name, shape), name)


class EncoderBuilder(_Layers):
    """Builds the encoder of one model."""

    def build(self) -> Any:
        """A Model from input_features f32 [B, M, 2 × S] to last_hidden_state f32 [B, S, H].

        Raises ConversionError for weights that are missing or of other shapes.
        """
        import openvino

        ops, config = self._ops, self._config
        frames = config.max_source_positions
        features = ops.parameter([-1, config.num_mel_bins, 2 * frames], np.float32, name="input_features")
        features.output(0).set_names({"input_features"})
        hidden = self._convolution("model.encoder.conv1", features, config.num_mel_bins, stride=1)
        hidden = self._convolution("model.encoder.conv2", hidden, config.d_model, stride=2)
        positions = self._constant("model.encoder.embed_positions.weight", frames, config.d_model)
        hidden = ops.add(ops.transpose(hidden, np.array([0, 2, 1])), positions)
        for number in range(config.encoder_layers):
            hidden = self._layer(f"model.encoder.layers.{number}", hidden)
        hidden = self._layer_norm("model.encoder.layer_norm", hidden)
        hidden.output(0).set_names({"last_hidden_state"})
        return openvino.Model([ops.result(hidden, name="last_hidden_state")], [features], "whisper_encoder")

    def _convolution(self, name: str, values: Any, inputs: int, stride: int) -> Any:
        ops, width = self._ops, self._config.d_model
        filters = self._constant(f"{name}.weight", width, inputs, _FRAMES_JOINED)
        product = ops.convolution(values, filters, [stride], [1], [1], [1])
        bias = ops.reshape(self._constant(f"{name}.bias", width), np.array([1, width, 1]), False)
        return ops.gelu(ops.add(product, bias), "erf")

    def _layer(self, name: str, hidden: Any) -> Any:
        heads = self._config.encoder_attention_heads
        normal = self._layer_norm(f"{name}.self_attn_layer_norm", hidden)
        query, key, value = (
            self._projected(f"{name}.self_attn.{part}_proj", normal, heads, bias=part != "k")
            for part in "qkv"
        )
        attended = self._ops.scaled_dot_product_attention(query, key, value)
        hidden = self._ops.add(hidden, self._joined(f"{name}.self_attn.out_proj", attended))
        return self._feed_forward(name, hidden, self._config.encoder_ffn_dim)


class DecoderBuilder(_Layers):
    """Builds the decoder of one model. It has states: the keys and values of all tokens since the last reset,
    and those of the encoded frames, which are computed once."""

    def __init__(self, config: WhisperConfig, weight: Weight) -> None:
        super().__init__(config, weight)
        self._ids = self._ops.parameter([-1, -1], np.int64, name="input_ids")
        self._encoded = self._ops.parameter(
            [-1, -1, config.d_model], np.float32, name="encoder_hidden_states"
        )
        self._beams = self._ops.parameter([-1], np.int32, name="beam_idx")
        self._states: list[Any] = []  # nodes that write them

    def build(self) -> Any:
        """A Model from input_ids i64 [B, T], encoder_hidden_states f32 [B, S, H] and beam_idx i32 [B] to
        logits f32 [B, T, vocabulary].

        Raises ConversionError for weights that are missing or of other shapes.
        """
        import openvino

        ops, config = self._ops, self._config
        inputs = [self._ids, self._encoded, self._beams]
        for node in inputs:
            node.output(0).set_names({node.get_friendly_name()})
        name, shape = "model.decoder.embed_tokens.weight", (config.vocab_size, config.d_model)
        embedding = int8_constant(self._weight(name, shape), name)
        pasts = [self._past(number) for number in range(config.decoder_layers)]
        positions, bias = self._positions(pasts[0][0])
        hidden = ops.add(ops.gather(embedding, self._ids, np.int64(0)), positions)
        for number, past in enumerate(pasts):
            hidden = self._layer(number, hidden, past, bias)
        hidden = self._layer_norm("model.decoder.layer_norm", hidden)
        logits = ops.matmul(hidden, embedding, False, True)
        logits.output(0).set_names({"logits"})
        result = ops.result(logits, name="logits")
        return openvino.Model([result], self._states, inputs, "whisper_decoder")

    def _past(self, layer: int) -> tuple[Any, Any]:
        """What reads the keys and the values of the tokens before, f32 [B, heads, P, H / heads]."""
        ops, config = self._ops, self._config
        heads, size = config.decoder_attention_heads, config.d_model // config.decoder_attention_heads
        batch = ops.gather(ops.shape_of(self._ids), np.array([0]), np.int64(0))
        empty = ops.broadcast(np.float32(0), ops.concat([batch, np.array([heads, 0, size])], 0))
        key, value = (
            ops.read_value(empty, _state(layer, "decoder", kind), np.float32, [-1, heads, -1, size])
            for kind in ("key", "value")
        )
        return key, value

    def _positions(self, past: Any) -> tuple[Any, Any]:
        """The embeddings of the tokens' positions, f32 [T, H], and what hides later tokens from earlier
        ones, as an attention bias f32 [1, 1, T, P + T]."""
        ops, config = self._ops, self._config
        before = ops.gather(ops.shape_of(past), np.int64(2), np.int64(0))
        after = ops.add(before, ops.gather(ops.shape_of(self._ids), np.int64(1), np.int64(0)))
        places = ops.range(before, after, np.int64(1), output_type="i64")
        table = self._constant(
            "model.decoder.embed_positions.weight", config.max_target_positions, config.d_model
        )
        seen = ops.range(np.int64(0), after, np.int64(1), output_type="i64")
        later = ops.greater(ops.unsqueeze(seen, np.array([0])), ops.unsqueeze(places, np.array([1])))
        bias = ops.select(ops.unsqueeze(later, np.array([0, 1])), MASKED, np.float32(0))
        return ops.gather(table, places, np.int64(0)), bias

    def _layer(self, number: int, hidden: Any, past: tuple[Any, Any], bias: Any) -> Any:
        ops, name = self._ops, f"model.decoder.layers.{number}"
        normal = self._layer_norm(f"{name}.self_attn_layer_norm", hidden)
        hidden = ops.add(hidden, self._self_attention(number, normal, past, bias))
        normal = self._layer_norm(f"{name}.encoder_attn_layer_norm", hidden)
        hidden = ops.add(hidden, self._cross_attention(number, normal))
        return self._feed_forward(name, hidden, self._config.decoder_ffn_dim)

    def _self_attention(self, number: int, values: Any, past: tuple[Any, Any], bias: Any) -> Any:
        ops, heads = self._ops, self._config.decoder_attention_heads
        name = f"model.decoder.layers.{number}.self_attn"
        query, key, value = (
            self._projected(f"{name}.{part}_proj", values, heads, bias=part != "k") for part in "qkv"
        )
        joined = []
        for kind, before, new in zip(("key", "value"), past, (key, value), strict=True):
            joined.append(ops.concat([ops.gather(before, self._beams, np.int64(0)), new], 2))
            self._states.append(ops.assign(joined[-1], _state(number, "decoder", kind)))
        attended = ops.scaled_dot_product_attention(query, *joined, bias)
        return self._joined(f"{name}.out_proj", attended)

    def _cross_attention(self, number: int, values: Any) -> Any:
        """Attention to the encoded frames, whose keys and values are computed when the states are empty.

        GenAI finds this operation by `encoder_attn` in its name, and its scores by the addition of a mask.
        """
        ops, heads = self._ops, self._config.decoder_attention_heads
        name, size = f"model.decoder.layers.{number}.encoder_attn", self._config.d_model // heads
        query = self._projected(f"{name}.q_proj", values, heads)
        kept = []
        for kind in ("key", "value"):
            frames = self._projected(f"{name}.{kind[0]}_proj", self._encoded, heads, bias=kind == "value")
            variable = _state(number, "encoder", kind)
            kept.append(ops.read_value(frames, variable, np.float32, [-1, heads, -1, size]))
            self._states.append(ops.assign(kept[-1], variable))
        # Scaled here, or the CPU plugin would scale and transpose all keys again for each token.
        query = ops.multiply(query, np.float32(size**-0.5))
        attended = ops.scaled_dot_product_attention(
            query, *kept, np.float32(0), np.float32(1), name=f"{name}/sdpa"
        )
        return self._joined(f"{name}.out_proj", attended)


def _state(layer: int, side: str, kind: str) -> str:
    """A state's name, which consists of those that it has as an input and as an output."""
    return f"past_key_values.{layer}.{side}.{kind}present.{layer}.{side}.{kind}"
