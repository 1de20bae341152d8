"""A tiny encoder of random weights: as a folder as on Hugging Face's hub, and as packed e5 weights."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 24,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##b", "cat", "##s", ".", "µ", "日", "ss", "x"]


def template(single: str, pair: str) -> dict[str, Any]:
    """A post-processor from texts such as "[CLS] A [SEP]"; each word after B has type 1."""

    def pieces(text: str) -> list[dict[str, Any]]:
        words = text.split()
        return [
            {
                "Sequence" if word in ("A", "B") else "SpecialToken": {
                    "id": word,
                    "type_id": int("B" in words[: place + 1]),
                }
            }
            for place, word in enumerate(words)
        ]

    special = {word: WORDS.index(word) for word in (*single.split(), *pair.split()) if word in WORDS}
    return {
        "type": "TemplateProcessing",
        "single": pieces(single),
        "pair": pieces(pair),
        "special_tokens": {word: {"id": word, "ids": [id], "tokens": [word]} for word, id in special.items()},
    }


def word_piece() -> dict[str, Any]:
    """What a tokenizer.json of BERT's kind holds."""
    return {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": WORDS[number], "special": True} for number in range(4)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
        | {"strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template("[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]"),
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
        | {"max_input_chars_per_word": 5, "vocab": {word: number for number, word in enumerate(WORDS)}},
    }


def weights(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Tensor name → values, of a sentence encoder."""
    random = np.random.default_rng(7)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        sizes = {f"attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        sizes |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (inner, hidden)}
        sizes |= {"output.dense": (hidden, inner)}
        for part, shape in sizes.items():
            shapes |= {f"{name}.{part}.weight": shape, f"{name}.{part}.bias": shape[:1]}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{name}.{part}.weight": (hidden,), f"{name}.{part}.bias": (hidden,)}
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    header, data = {}, b""
    for name, tensor in tensors.items():
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), end]}
        data += tensor.tobytes()
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def write_folder(folder: Path, tensors: dict[str, np.ndarray] | None = None, **config: Any) -> Path:
    """A folder that holds the encoder, or another model of `tensors` and `config`."""
    folder.mkdir(parents=True)
    facts = CONFIG | config
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "tokenizer.json").write_text(json.dumps(word_piece()))
    (folder / "tokenizer_config.json").write_text(
        '{"pad_token": {"content": "[PAD]"}, "model_max_length": 30}'
    )
    (folder / "model.safetensors").write_bytes(safetensors(weights(facts) if tensors is None else tensors))
    return folder


# --- packed -----------------------------------------------------------------------------------------------

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "▁cat", "s"]


def pack(tensors: dict[str, np.ndarray], config: dict[str, Any] = CONFIG) -> bytes:
    """The encoder as packed e5 weights. Matrices of layers and words are in 4 bits, in blocks of 32."""
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack(
        "<7ifi", *(config[name] for name in sizes), config["max_position_embeddings"], 2, 1e-12, 32
    )
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)])
    scores = [0.0] * 4 + [-1.0] * (len(PIECES) - 4)  # so that few, long pieces are the most likely
    head += struct.pack("<i4iQ", len(PIECES), 0, 2, 1, 3, len(blob))
    head += struct.pack(f"<{len(ends)}I{len(scores)}f", *ends, *scores) + blob
    spaces = {"\t": " ", "\x01": "", "ﬁ": "fi"}
    entries = b"".join(
        struct.pack(f"<IB{len(text)}I", ord(old), len(text), *map(ord, text)) for old, text in spaces.items()
    )
    head += struct.pack("<iI", len(spaces), len(entries)) + entries
    return head + _directory(len(head), tensors)


def _directory(start: int, tensors: dict[str, np.ndarray]) -> bytes:
    packed = {_short(name): _content(name, tensor) for name, tensor in tensors.items()}
    offset = start + 4 + sum(2 + len(name) + 21 for name in packed)
    directory, data = struct.pack("<i", len(packed)), b""
    for name, (kind, content) in packed.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, 0, offset + len(data), len(content))
        data += content
    return directory + data


_SHORT = {
    "embeddings.word_embeddings": "emb.word",
    "embeddings.position_embeddings": "emb.pos",
    "embeddings.token_type_embeddings": "emb.type",
    "embeddings.LayerNorm": "emb.ln",
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


def _short(name: str) -> str:
    part, _, kind = name.rpartition(".")
    if part.startswith("encoder.layer."):
        number, _, rest = part.removeprefix("encoder.layer.").partition(".")
        return f"l{number}.{_SHORT[rest]}.{kind[0]}"
    return f"{_SHORT[part]}.{kind[0]}" if part.endswith("LayerNorm") else _SHORT[part]


def _content(name: str, tensor: np.ndarray) -> tuple[int, bytes]:
    """Its type, 0 for float32 and 1 for packed, and its bytes."""
    if tensor.ndim == 1 or "position" in name or "token_type" in name:
        return 0, tensor.tobytes()
    blocks = tensor.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    numbers = np.clip(np.round(blocks / scales.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    content = np.concatenate([scales.view(np.uint8), numbers[:, :16] | numbers[:, 16:] << 4], axis=1)
    return 1, content.tobytes()
