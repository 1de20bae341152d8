"""Exports models to OpenVINO IR with optimum-intel, in a process of its own: it is an extra."""

import importlib.util
import shutil
from pathlib import Path

from frontend.models.child import run_module
from frontend.models.errors import ModelError
from frontend.models.folder import FolderFacts
from frontend.models.recognize import recognize
from frontend.models.reporter import Reporter
from frontend.models.sources.remote import install_command

_REQUIREMENT = "optimum-intel>=2.2"
_CLASSIFIER = "ForSequenceClassification"
_TASKS = {
    "text": "text-generation-with-past",
    "embeddings": "feature-extraction",
    "rerank": "text-classification",
    "vision": "image-text-to-text",
    "transcription": "automatic-speech-recognition-with-past",
}
# What says how embeddings are made of a model's output, which Optimum leaves out.
_KEPT = (
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)
DEFAULT_WEIGHT_FORMAT = "int8"


def check_installed(title: str) -> None:
    """Raise ModelError, with the command that installs it, unless optimum-intel is there."""
    try:
        found = importlib.util.find_spec("optimum.intel")
    except ModuleNotFoundError:  # not even its parent
        found = None
    if found is None:
        raise ModelError(
            f"{title} must be exported to OpenVINO's format, which optimum-intel does; install it with:\n"
            f"{install_command(_REQUIREMENT)}"
        )


def export_task(facts: FolderFacts) -> str:
    """What Optimum calls the task of a model. Raises ModelError if it has none here."""
    if "vision_config" in facts.document("config.json"):
        return "image-text-to-text"
    task = recognize(facts).task
    if task == "rerank" and not any(_CLASSIFIER in str(name) for name in _architectures(facts)):
        task = "text"  # a causal model that answers yes or no
    if task not in _TASKS:
        raise ModelError(f"{facts.path} is a {task} model, which cannot be exported for this server")
    return _TASKS[task]


def _architectures(facts: FolderFacts) -> list[object]:
    named = facts.document("config.json").get("architectures")
    return named if isinstance(named, list) else []


def export(source: Path, folder: Path, task: str, weight_format: str, reporter: Reporter) -> None:
    """Write the IR of a folder from a hub into the empty `folder`. Raises ModelError."""
    reporter.step(f"Exporting with weights in {weight_format}")
    arguments = ["export", "openvino", "--model", str(source), "--task", task]
    arguments += ["--library", "transformers", "--weight-format", weight_format, str(folder)]
    ended = run_module(
        "frontend.models.sources.exporting",
        arguments,
        lifeline=True,
        environment={"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"},
    )
    if ended.status != 0:
        raise ModelError(
            f"optimum-cli could not export it: {ended.last_words}\n"
            "Export it yourself, with the options that it needs, and name the folder: "
            "optimum-cli export openvino --model MODEL FOLDER"
        )
    for name in _KEPT:
        if (source / name).is_file() and not (folder / name).exists():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)
