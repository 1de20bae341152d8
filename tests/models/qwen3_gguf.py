"""Writes the GGUF file of a Qwen3 with random weights.

Its greedy text varies. Tokens that end things are likely, so that an answer, its reasoning and a string of
JSON come to an end, and white space in JSON is not, or there would be no end of it.
"""

from pathlib import Path

import gguf
import numpy as np

from tests.models.vocabularies import write_vocabulary

_VOCABULARY = 151_936  # more than there are tokens, as in the real ones
_CONTEXT = 8_192
_HIDDEN, _INNER, _LAYERS, _HEADS, _KV_HEADS, _HEAD_DIM = 64, 128, 2, 4, 2, 16
_SEED = 1
_ENDS = {"<|im_end|>", "</think>", '"', '"}', "}", "}}", "]", '":', '",'}
_WHITE_SPACE = set("ĠĊĉč")  # space, newline, tab and return, as the tokenizer writes bytes
_PUNCTUATION = set('{}[]":,')
_LEANING = 80.0  # how much the two weigh


def write_gguf(path: Path) -> None:
    """With the real model's tokenizer."""
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_INNER)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_key_length(_HEAD_DIM)
    writer.add_value_length(_HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    tokens = write_vocabulary(writer, "qwen3", _VOCABULARY)
    for name, weight in _weights([_liking(text) for text in tokens]).items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _liking(token: str) -> float:
    if token in _ENDS:
        return 0.5
    symbols = set(token)
    return -1.0 if symbols & _WHITE_SPACE and symbols <= _WHITE_SPACE | _PUNCTUATION else 0.0


def _weights(likings: list[float]) -> dict[str, np.ndarray]:
    """Tensor name → weight, [outputs, inputs].

    Dimension 0 of the hidden state leads from the embedding past all layers to the logits, which the
    embedding makes, too: there it says what is likely. The other scales keep attention sharp and the last
    token's own embedding small in the sum, or greedy text would soon repeat itself.
    """
    random = np.random.default_rng(_SEED)

    def linear(outputs: int, inputs: int, scale: float = 1.0) -> np.ndarray:
        weight: np.ndarray = random.standard_normal((outputs, inputs)) * (scale / inputs**0.5)
        return weight.astype(np.float16)

    def to_hidden(inputs: int) -> np.ndarray:
        weight = linear(_HIDDEN, inputs, 4.0)
        weight[0] = 0.0
        return weight

    def norm(size: int, scale: float = 1.0, first: float | None = None) -> np.ndarray:
        weight = np.full(size, scale, np.float32)
        weight[0] = scale if first is None else first
        return weight

    embedding = random.standard_normal((_VOCABULARY, _HIDDEN)) * 0.35
    embedding[:, 0] = 3.0 + np.array(likings)
    weights = {
        "token_embd.weight": embedding.astype(np.float16),
        "output_norm.weight": norm(_HIDDEN, 2.0, first=_LEANING),
    }
    for layer in range(_LAYERS):
        block = {
            "attn_norm": norm(_HIDDEN, first=0.0),
            "attn_q": linear(_HEADS * _HEAD_DIM, _HIDDEN),
            "attn_k": linear(_KV_HEADS * _HEAD_DIM, _HIDDEN),
            "attn_v": linear(_KV_HEADS * _HEAD_DIM, _HIDDEN),
            "attn_q_norm": norm(_HEAD_DIM, 3.0),
            "attn_k_norm": norm(_HEAD_DIM),
            "attn_output": to_hidden(_HEADS * _HEAD_DIM),
            "ffn_norm": norm(_HIDDEN, first=0.0),
            "ffn_gate": linear(_INNER, _HIDDEN, 2.0),
            "ffn_up": linear(_INNER, _HIDDEN),
            "ffn_down": to_hidden(_INNER),
        }
        weights |= {f"blk.{layer}.{name}.weight": weight for name, weight in block.items()}
    return weights
