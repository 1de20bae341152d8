"""Checks a GGUF file before native code reads it: the engine trusts whatever a file claims.

What passes has all tensors of a known architecture, in the shapes that the metadata imply, inside the file.
"""

from pathlib import Path
from typing import NamedTuple

from host.convert.errors import DOWNLOAD_AGAIN, EXPORT, ConversionError
from host.convert.gguf import GgufMetadata, damaged, read_gguf_metadata
from host.convert.gguf_rope import Rotation, read_rotation
from host.convert.gguf_tensors import GgufTensor, read_tensors
from ipc.conversion import GGUF_ARCHITECTURES

Shapes = dict[str, tuple[int, ...]]  # name of a tensor → rows and width, or the width alone

_MAX_LAYERS = 1_000
_MAX_HEADS = 4_096
_MAX_WIDTH = 2**20  # of hidden states
_WHOLE_TYPES = (4, 5, 10, 11)  # of metadata: GenAI reads 32 bits of a number
_FLOAT32 = 6
_TOKENIZER = "tokenizer.ggml"
_OTHER_KINDS = {  # general.type → what it is and what to do
    "adapter": ("a LoRA adapter, not a model", "serve its base model, with --adapter for a safetensors one"),
    "mmproj": ("the vision part of a model", "give the GGUF file of its text model"),
    "imatrix": ("an importance matrix, not a model", "give the GGUF file of the model"),
}


class Dimensions(NamedTuple):
    """The sizes that all shapes follow from."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int


class CheckedGguf(NamedTuple):
    """A file that native code may read. It stays mapped as long as the metadata live."""

    metadata: GgufMetadata
    tensors: dict[str, GgufTensor]  # those of the model; others are ignored
    rotation: Rotation


def check_gguf(path: Path) -> CheckedGguf:
    """Raises ConversionError with what is wrong with the file, OSError."""
    metadata = read_gguf_metadata(path)
    architecture = _check_kind(metadata)
    tensors = read_tensors(metadata)
    dimensions = _dimensions(metadata, architecture)
    own = _check_shapes(tensors, dimensions)
    _check_vocabulary(metadata, own["token_embd.weight"].rows)
    return CheckedGguf(metadata, own, read_rotation(metadata, tensors, dimensions.head))


# --- what kind of file it is --------------------------------------------------------------------------------


def _check_kind(metadata: GgufMetadata) -> str:
    """The architecture, if this is a whole model of a supported one."""
    parts = metadata.integer("split.count") or 1
    if parts > 1:
        raise ConversionError(
            f"it is one of {parts} parts of a model", "join them: llama-gguf-split --merge FIRST_PART OUTPUT"
        )
    architecture = metadata.text("general.architecture")
    kind = "mmproj" if architecture == "clip" else metadata.text("general.type") or "model"
    if kind in _OTHER_KINDS:
        cause, remedy = _OTHER_KINDS[kind]
        raise ConversionError(f"it is {cause}", remedy)
    if architecture is None:
        raise ConversionError("general.architecture is missing", "get another GGUF file of this model")
    if architecture not in GGUF_ARCHITECTURES:
        raise ConversionError(
            f"the architecture {architecture[:24]!r} is not supported in GGUF files ({_listed()} are)", EXPORT
        )
    if metadata.tensor_count == 0:
        raise ConversionError("it holds a vocabulary but no weights", "get the GGUF file with the weights")
    if metadata.integer(f"{architecture}.expert_count"):
        raise ConversionError("mixtures of experts are not supported in GGUF files", EXPORT)
    return architecture


def _listed() -> str:
    return f"{', '.join(GGUF_ARCHITECTURES[:-1])} and {GGUF_ARCHITECTURES[-1]}"


# --- its metadata -------------------------------------------------------------------------------------------


def _dimensions(metadata: GgufMetadata, architecture: str) -> Dimensions:
    def whole(name: str, largest: int, default: int | None = None) -> int:
        return _whole(metadata, f"{architecture}.{name}", largest, default)

    layers = whole("block_count", _MAX_LAYERS)
    hidden, heads = whole("embedding_length", _MAX_WIDTH), whole("attention.head_count", _MAX_HEADS)
    kv_heads = whole("attention.head_count_kv", _MAX_HEADS, heads)
    head = whole("attention.key_length", _MAX_WIDTH, hidden // heads)
    whole("context_length", 2**31 - 1, 2048)
    if heads % kv_heads or head % 2:
        raise damaged(f"{heads} heads of {head} numbers with {kv_heads} KV heads do not fit together")
    _check_float(metadata, f"{architecture}.attention.layer_norm_rms_epsilon", required=True)
    _check_float(metadata, f"{architecture}.rope.freq_base", required=False)
    return Dimensions(layers, hidden, heads, kv_heads, head)


def _whole(metadata: GgufMetadata, key: str, largest: int, default: int | None) -> int:
    if key not in metadata.types and default is not None:
        return default
    value = metadata.integer(key)
    if value is None or metadata.types[key] not in _WHOLE_TYPES or not 1 <= value <= largest:
        raise damaged(
            f"the metadata lack {key}" if key not in metadata.types else f"{key} is no valid number"
        )
    return value


def _check_float(metadata: GgufMetadata, key: str, *, required: bool) -> None:
    if key not in metadata.types and not required:
        return
    value = metadata.values.get(key)
    if metadata.types.get(key) != _FLOAT32 or not isinstance(value, float) or not 0 < value < float("inf"):
        raise damaged(
            f"the metadata lack {key}" if key not in metadata.types else f"{key} is no valid number"
        )


# --- its tensors --------------------------------------------------------------------------------------------


def _check_shapes(tensors: dict[str, GgufTensor], sizes: Dimensions) -> dict[str, GgufTensor]:
    """The tensors of the model, without those that are ignored."""
    embedding = tensors.get("token_embd.weight")
    vocabulary = embedding.rows if embedding else 1
    required: Shapes = {
        "token_embd.weight": (vocabulary, sizes.hidden),
        "output_norm.weight": (sizes.hidden,),
    }
    optional: Shapes = {"output.weight": (vocabulary, sizes.hidden)}
    for layer in range(sizes.layers):
        gate = tensors.get(f"blk.{layer}.ffn_gate.weight")
        needed, possible = _layer_shapes(sizes, gate.rows if gate else 1)
        required |= {f"blk.{layer}.{name}": shape for name, shape in needed.items()}
        optional |= {f"blk.{layer}.{name}": shape for name, shape in possible.items()}
        if gate is None:
            break  # which is missing: no need to list thousands of others
    for name in required:
        if name not in tensors:
            raise ConversionError(f"the tensor {name} is missing", DOWNLOAD_AGAIN)
    return {
        name: _expected(tensor, required | optional) for name, tensor in tensors.items() if _is_used(name)
    }


def _layer_shapes(sizes: Dimensions, inner: int) -> tuple[Shapes, Shapes]:
    """The required and the optional tensors of a layer."""
    hidden, queries, keys = sizes.hidden, sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    weights: dict[str, tuple[int, int]] = {
        "attn_q": (queries, hidden),
        "attn_k": (keys, hidden),
        "attn_v": (keys, hidden),
        "attn_output": (hidden, queries),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    required: Shapes = {f"{name}.weight": shape for name, shape in weights.items()}
    required |= {"attn_norm.weight": (hidden,), "ffn_norm.weight": (hidden,)}
    optional: Shapes = {f"{name}.bias": shape[:1] for name, shape in weights.items()}
    optional |= {"attn_q_norm.weight": (sizes.head,), "attn_k_norm.weight": (sizes.head,)}
    return required, optional


def _is_used(name: str) -> bool:
    """Rotary frequencies do not reach the engine, which computes its own."""
    return not name.startswith(("rope_", "rope.")) and "rot_embd" not in name


def _expected(tensor: GgufTensor, shapes: Shapes) -> GgufTensor:
    shape = shapes.get(tensor.name)
    if shape is None:
        raise ConversionError(f"the tensor {tensor.name} belongs to a variant that is not supported", EXPORT)
    if tensor.shape != shape:
        raise damaged(f"the tensor {tensor.name} has the shape {list(tensor.shape)}, not {list(shape)}")
    return tensor


# --- its vocabulary -----------------------------------------------------------------------------------------


def _check_vocabulary(metadata: GgufMetadata, rows: int) -> None:
    """`rows` is the number of embeddings. The tokenizer itself is checked where it is built."""
    tokens = metadata.count(f"{_TOKENIZER}.tokens")
    if tokens is None:
        raise ConversionError("it holds no tokenizer", "get another GGUF file of this model")
    if not 1 <= tokens <= rows:
        raise damaged(f"it has {tokens} tokens, but {rows} embeddings")
    for name in ("bos", "eos", "eot", "eom", "padding", "unknown"):
        key = f"{_TOKENIZER}.{name}_token_id"
        number = metadata.integer(key)
        if key in metadata.types and (number is None or not 0 <= number < tokens):
            raise damaged(f"{key} is no token")
