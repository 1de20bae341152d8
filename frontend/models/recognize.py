"""What a model folder holds: one answer for the command line and, by the launch message, hosts. Pure.

The first rule that applies decides: the setting `task`, the names of the IR files, the model type, the marks
of a reranker, those of a sentence encoder, the architecture. A folder without a config.json counts as a text
model.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from frontend.models.errors import ModelError
from frontend.models.folder import MODEL_XML, FolderFacts
from ipc.model_files import missing_files

Task = Literal["text", "embeddings", "rerank", "vision", "transcription", "speech"]
TaskSetting = Literal["auto", "text", "embeddings", "rerank", "vision", "transcription", "speech"]
Library = Literal["genai", "openvino", "optimum"]
LibrarySetting = Literal["auto", "genai", "openvino", "optimum"]
SERVED: frozenset[Task] = frozenset({"text", "embeddings", "rerank", "vision", "transcription", "speech"})

_LIBRARIES: dict[Task, tuple[Library, ...]] = {  # that compute models of a task; auto means the first
    "embeddings": ("openvino", "optimum"),
    "rerank": ("openvino", "optimum"),
    "speech": ("genai", "openvino"),
}
_NO_CHOICE: tuple[Library, ...] = ("openvino", "genai")  # of the other tasks: both names mean the same

_BY_FILE: dict[str, Task] = {
    "openvino_language_model.xml": "vision",
    "openvino_vision_embeddings_model.xml": "vision",
    "openvino_vocoder.xml": "speech",
}
_BY_MODEL_TYPE: dict[str, Task] = {
    "whisper": "transcription",
    "speecht5": "speech",
    "kokoro": "speech",
    "chatglm": "text",  # its architecture is named like an encoder's
}
_BY_ARCHITECTURE: dict[str, Task] = {  # by the end of its name
    "ForCausalLM": "text",
    "LMHeadModel": "text",
    "ForMaskedLM": "embeddings",
    "Model": "embeddings",
}
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
_MAX_NAMED = 4  # files, in an error
_CLASSIFIER = "ForSequenceClassification"
_ENCODER_DECODER = "ForConditionalGeneration"
_SENTENCE_FILES = {"modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"}


class Recognized(msgspec.Struct, frozen=True):
    """`library` computes it. `precision` is that of its weights, such as int8, or empty if not stated."""

    task: Task
    library: Library = "openvino"
    precision: str = ""


def recognize(facts: FolderFacts, task: TaskSetting = "auto", library: LibrarySetting = "auto") -> Recognized:
    """Raises ModelError for a kind of model that has no task here."""
    found = _task(facts) if task == "auto" else task
    used = _LIBRARIES.get(found, _NO_CHOICE)[0] if library == "auto" else library
    return Recognized(found, used, _precision(facts))


def _task(facts: FolderFacts) -> Task:
    config = facts.document("config.json")
    if "model_index.json" in facts.files:
        raise _not_served(facts, "a Diffusers pipeline")
    for file, task in _BY_FILE.items():
        if file in facts.files:
            return task
    model_type, architecture = config.get("model_type"), _architecture(config)
    if isinstance(model_type, str) and model_type in _BY_MODEL_TYPE:
        return _BY_MODEL_TYPE[model_type]
    if _is_reranker(facts, architecture):
        return "rerank"
    if _is_sentence_encoder(facts, architecture):
        return "embeddings"
    return _task_of_architecture(facts, architecture, config)


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def _is_reranker(facts: FolderFacts, architecture: str) -> bool:
    """A cross-encoder, or a causal model that answers yes or no.

    Such a causal model has the config.json of any other. It counts as a reranker if its sentence-transformers
    files say so, or if one of its names contains "rerank".
    """
    if architecture.endswith(_CLASSIFIER) or "cross_encoder" in _module_types(facts):
        return True
    if facts.document("config_sentence_transformers.json").get("model_type") == "CrossEncoder":
        return True
    return _may_be_causal(architecture) and "rerank" in _names(facts)


def _is_sentence_encoder(facts: FolderFacts, architecture: str) -> bool:
    """A folder with the files of sentence-transformers, or a causal model whose name contains "embed"."""
    if facts.documents.keys() & _SENTENCE_FILES:
        return True
    return _may_be_causal(architecture) and "embed" in _names(facts)


def _may_be_causal(architecture: str) -> bool:
    """A converted GGUF file has no architecture's name."""
    return not architecture or architecture.endswith("ForCausalLM")


def _task_of_architecture(facts: FolderFacts, architecture: str, config: Mapping[str, Any]) -> Task:
    if architecture.endswith("Model") and "vision_config" in config:
        return "vision"
    if architecture.endswith(_ENCODER_DECODER) and MODEL_XML in facts.files:
        return "text"  # the text part of a vision model, exported alone
    for ending, task in _BY_ARCHITECTURE.items():
        if architecture.endswith(ending):
            return task
    if architecture:
        raise _not_served(facts, f"a model of the architecture {architecture}")
    return "text"


def _names(facts: FolderFacts) -> str:
    """In lower case, the names of the folder, of the original model, and of the converted file."""
    recipe = facts.document("manifest.json").get("recipe")
    converted = recipe.get("name") if isinstance(recipe, dict) else ""
    return f"{facts.name} {facts.document('config.json').get('_name_or_path')} {converted}".lower()


def _module_types(facts: FolderFacts) -> str:
    modules = facts.documents.get("modules.json")
    listed = modules if isinstance(modules, list) else []
    return " ".join(str(module.get("type")) for module in listed if isinstance(module, dict))


def _precision(facts: FolderFacts) -> str:
    """As Optimum's configuration states it, else as NNCF signed the model's XML."""
    quantization = facts.document("openvino_config.json").get("quantization_config")
    bits = quantization.get("bits") if isinstance(quantization, dict) else None
    if bits in (4, 8):
        return f"int{bits}"
    _, _, signature = facts.xml_tail.partition("<weight_compression>")
    mode = re.search(r'<mode value="([a-z]+[0-9]+)', signature)
    return mode[1] if mode else ""


def check_servable(facts: FolderFacts, recognized: Recognized) -> None:
    """Raise ModelError unless this server serves the task and the folder holds all that it needs."""
    is_known = recognized.task != "speech" or facts.document("config.json").get("model_type") == "kokoro"
    if recognized.task not in SERVED or not is_known:
        raise _not_served(facts, f"a {recognized.task} model")
    _check_library(facts, recognized)
    missing = missing_files(facts.files, recognized.task, recognized.library)
    if missing:
        raise ModelError(_explain_missing(facts, missing))


def _check_library(facts: FolderFacts, recognized: Recognized) -> None:
    libraries = _LIBRARIES.get(recognized.task, _NO_CHOICE)
    if recognized.library not in libraries:
        tasks = " and ".join(task for task, known in _LIBRARIES.items() if recognized.library in known)
        raise ModelError(
            f"{facts.path} is a {recognized.task} model: library = {recognized.library} is for {tasks} only; "
            f"set it to {' or '.join(('auto', *libraries))}"
        )


def _explain_missing(facts: FolderFacts, missing: list[str]) -> str:
    if MODEL_XML not in facts.files and (ggufs := _gguf_files(facts)):
        return _name_gguf_files(facts, ggufs)
    wrong = f"{facts.path} is not an IR folder that can be served"
    if MODEL_XML not in facts.files and any(name.endswith(".safetensors") for name in facts.files):
        return f"{wrong}; convert it first with: optimum-cli export openvino --model FOLDER IR_FOLDER"
    if not any(name.startswith("openvino_") for name in facts.files):
        return f"{wrong}; name a GGUF file, or a folder that optimum-cli export openvino wrote"
    return f"{wrong} (write it again with optimum-cli export openvino): it lacks {', '.join(missing)}"


def _gguf_files(facts: FolderFacts) -> list[str]:
    """The GGUF files that hold a model, or the first part of one."""
    return sorted(
        name
        for name in facts.files
        if name.endswith(".gguf")
        and not name.startswith("mmproj")  # the vision part of another file
        and _LATER_PART.search(name) is None
    )


def _name_gguf_files(facts: FolderFacts, ggufs: list[str]) -> str:
    listed = ", ".join(ggufs[:_MAX_NAMED]) + (", …" if len(ggufs) > _MAX_NAMED else "")
    many = f"{len(ggufs)} GGUF files" if len(ggufs) > 1 else "a GGUF file"
    path = shlex.quote(str(Path(facts.path, ggufs[0])))
    return f"{facts.path} holds {many} and no IR: {listed}\nTo serve one, name it: nacelle serve {path}"


def _not_served(facts: FolderFacts, what: str) -> ModelError:
    return ModelError(f"{facts.path} holds {what}, which this server does not serve")
