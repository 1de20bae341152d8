"""Converts a GGUF file with OpenVINO GenAI, and describes it as a Hugging Face folder does."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from host.convert.gguf import GgufMetadata
from host.convert.gguf_check import check_gguf
from host.convert.gguf_rewrite import ir_size, plan_rewrite, rewrite, rewritten_size
from host.convert.gguf_rope import context_length, rope_note
from host.convert.gguf_tokenizer import normalizes, save_tokenizer
from host.convert.rope_constants import save_rotation
from host.convert.saving import check_room, check_saved, save_with_genai
from host.model_folder import read_model_folder

_TOKENS = "tokenizer.ggml.tokens"
_TEMPLATE = "tokenizer.chat_template"


def convert_gguf(source: Path, folder: Path, note: Callable[[str], None] = print) -> None:
    """Write the IR and the JSON files into `folder`. `note` gets what the user should know, one line each.

    Raises ConversionError, ModelFolderError, OSError, RuntimeError.
    """
    checked = check_gguf(source)
    plan = plan_rewrite(checked)
    # The engine opens what it reads for writing, although it does not write: a read-only file must be copied.
    copied = plan.needed or not os.access(source, os.W_OK)
    check_room(folder, ir_size(checked, plan) + (rewritten_size(checked, plan) if copied else 0))
    for line in filter(None, (plan.note, rope_note(checked.metadata))):
        note(line)
    save_tokenizer(checked.metadata, folder)
    _save_ir(source, folder, partial(rewrite, checked, plan) if copied else None)
    save_rotation(folder / "openvino_model.xml", checked.rotation)
    check_saved(folder)
    for name, content in describe(checked.metadata).items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    read_model_folder(folder)  # complete, or this raises


def _save_ir(source: Path, folder: Path, write_copy: Callable[[Path], None] | None) -> None:
    """Let OpenVINO GenAI write the IR. It writes beside the file that it reads: a link, or the copy."""
    readable = folder / "model.gguf"
    try:
        if write_copy is None:
            readable.symlink_to(source.resolve())
        else:
            write_copy(readable)
        save_with_genai(readable)
    finally:
        readable.unlink(missing_ok=True)
    check_saved(folder)


def describe(metadata: GgufMetadata) -> dict[str, dict[str, Any]]:
    """File name → content, of what a Hugging Face folder says about a model. Unknown facts are left out."""
    token_id = {
        name: metadata.integer(f"tokenizer.ggml.{name}_token_id")
        for name in ("bos", "eos", "eot", "eom", "padding", "unknown")
    }
    stops = sorted({number for name in ("eos", "eot", "eom") if (number := token_id[name]) is not None})
    return {
        "config.json": _known(_config(metadata, stops) | {"bos_token_id": token_id["bos"]}),
        "generation_config.json": _known(
            {"bos_token_id": token_id["bos"], "eos_token_id": stops, "pad_token_id": token_id["padding"]}
        ),
        "tokenizer_config.json": _known(
            {
                "chat_template": _templates(metadata),
                "bos_token": metadata.element(_TOKENS, token_id["bos"]),
                "eos_token": metadata.element(_TOKENS, token_id["eos"]),
                "pad_token": metadata.element(_TOKENS, token_id["padding"]),
                "unk_token": metadata.element(_TOKENS, token_id["unknown"]),
                "normalizer": {"type": "NFC"} if normalizes(metadata) else None,
            }
        ),
    }


def _templates(metadata: GgufMetadata) -> str | list[dict[str, str]] | None:
    """The chat template; all of them by name, as Hugging Face lists them, where there are several."""
    default = metadata.text(_TEMPLATE)
    names = sorted({*metadata.strings("tokenizer.chat_templates"), "tool_use"} - {"default"})
    named = {"default": default} | {name: metadata.text(f"{_TEMPLATE}.{name}") for name in names}
    entries = [{"name": name, "template": text} for name, text in named.items() if text]
    return default if len(entries) < 2 and default else entries or None


def _config(metadata: GgufMetadata, stops: list[int]) -> dict[str, Any]:
    architecture = metadata.text("general.architecture") or ""
    heads = metadata.integer(f"{architecture}.attention.head_count")
    hidden = metadata.integer(f"{architecture}.embedding_length")
    return {
        "model_type": architecture,
        "max_position_embeddings": context_length(metadata),
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
