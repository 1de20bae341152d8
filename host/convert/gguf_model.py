"""Converts a GGUF file with OpenVINO GenAI, and describes it as a Hugging Face folder does."""

import json
from pathlib import Path
from typing import Any

from host.convert.gguf import GgufMetadata, read_gguf_metadata
from host.convert.gguf_tokenizer import normalizes, save_tokenizer
from host.model_folder import read_model_folder

_TOKENS = "tokenizer.ggml.tokens"


def convert_gguf(source: Path, folder: Path) -> None:
    """Write the IR and the JSON files into `folder`.

    Raises ConversionError, ModelFolderError, OSError, RuntimeError.
    """
    metadata = read_gguf_metadata(source)
    save_tokenizer(metadata, folder)
    _save_ir(source, folder)
    for name, content in describe(metadata).items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    read_model_folder(folder)  # complete, or this raises


def _save_ir(source: Path, folder: Path) -> None:
    """Let OpenVINO GenAI write the IR. It writes beside the file it is given, so it is given a link."""
    from openvino_genai import LLMPipeline, Tokenizer

    link = folder / "model.gguf"
    link.symlink_to(source.resolve())
    try:
        LLMPipeline(link, Tokenizer(folder), "CPU", enable_save_ov_model=True)
    finally:
        link.unlink()


def describe(metadata: GgufMetadata) -> dict[str, dict[str, Any]]:
    """File name → content, of what a Hugging Face folder says about a model. Unknown facts are left out."""
    token_id = {
        name: metadata.integer(f"tokenizer.ggml.{name}_token_id")
        for name in ("bos", "eos", "eot", "eom", "padding")
    }
    stops = sorted({number for name in ("eos", "eot", "eom") if (number := token_id[name]) is not None})
    return {
        "config.json": _known(_config(metadata, stops) | {"bos_token_id": token_id["bos"]}),
        "generation_config.json": _known(
            {"bos_token_id": token_id["bos"], "eos_token_id": stops, "pad_token_id": token_id["padding"]}
        ),
        "tokenizer_config.json": _known(
            {
                "chat_template": metadata.text("tokenizer.chat_template"),
                "bos_token": metadata.element(_TOKENS, token_id["bos"]),
                "eos_token": metadata.element(_TOKENS, token_id["eos"]),
                "normalizer": {"type": "NFC"} if normalizes(metadata) else None,
            }
        ),
    }


def _config(metadata: GgufMetadata, stops: list[int]) -> dict[str, Any]:
    architecture = metadata.text("general.architecture") or ""
    heads = metadata.integer(f"{architecture}.attention.head_count")
    hidden = metadata.integer(f"{architecture}.embedding_length")
    return {
        "model_type": architecture,
        "max_position_embeddings": metadata.integer(f"{architecture}.context_length"),
        "num_hidden_layers": metadata.integer(f"{architecture}.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.integer(f"{architecture}.attention.head_count_kv") or heads,
        "hidden_size": hidden,
        "head_dim": metadata.integer(f"{architecture}.attention.key_length")
        or (hidden // heads if hidden and heads else None),
        "vocab_size": metadata.count(_TOKENS),
        "eos_token_id": stops,
    }


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, [])}
