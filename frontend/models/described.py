"""What a model folder's files say about the model, as far as its manifest does not yet."""

from pathlib import Path
from typing import Any

import msgspec

from frontend.models.manifest import Manifest

_WEIGHTS = {"text": "model", "vision": "language_model", "transcription": "decoder_model"}
_COMPRESSED = {"u4": "int4", "i4": "int4", "u8": "int8", "i8": "int8", "nf4": "nf4"}  # weights
_PLAIN = ("f32", "f16", "bf16")


def described(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest with what its folder's files say. One that an older version wrote has none of it."""
    if manifest.task:
        return manifest
    # Only needed after a conversion, and these take time to import.
    from frontend.models.errors import ModelError
    from frontend.models.folder import look_at
    from frontend.models.recognize import recognize

    try:
        facts = look_at(folder)
        recognized = recognize(facts)
    except ModelError:  # what serves it will say why
        return manifest
    config = facts.document("config.json")
    precision, parameters, openvino = _of_weights(folder, recognized.task)
    return msgspec.structs.replace(
        manifest,
        task=recognized.task,
        library=recognized.library,
        precision=recognized.precision or precision,
        parameters=parameters,
        context_length=manifest.context_length or _context_length(config),
        openvino=openvino,
    )


def _of_weights(folder: Path, task: str) -> tuple[str, int, str]:
    """Precision, number of parameters, and the version of OpenVINO that wrote the IR."""
    from ipc.ir_facts import read_ir
    from ipc.model_files import FileFault

    try:
        facts = read_ir(folder / f"openvino_{_WEIGHTS.get(task, 'model')}.xml")
    except FileFault:
        return "", 0, ""
    compressed = {kind: count for kind, count in facts.elements.items() if kind in _COMPRESSED}
    weights = compressed or {kind: facts.elements[kind] for kind in _PLAIN if kind in facts.elements}
    largest = max(weights, key=lambda kind: weights[kind], default="")
    return _COMPRESSED.get(largest, largest), sum(weights.values()), facts.runtime


def _context_length(config: Any) -> int | None:
    """The model's own limit, in tokens."""
    text = config.get("text_config")
    for document in (text if isinstance(text, dict) else {}, config):
        for key in ("max_position_embeddings", "max_target_positions"):
            value = document.get(key)
            if isinstance(value, int) and value > 0:
                return value
    return None
