"""Exports models to OpenVINO IR with optimum-intel, in a process of its own: it is an extra."""

import importlib.util
import shutil
from pathlib import Path

from frontend.models.child import run_module
from frontend.models.errors import ModelError
from frontend.models.reporter import Reporter
from frontend.models.sources.remote import install_command

_REQUIREMENT = "optimum-intel>=2.2"
WEIGHT_FORMATS = ("int4", "int8", "fp16")
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


def export(source: Path, folder: Path, weight_format: str, reporter: Reporter) -> None:
    """Write the IR of a folder from a hub into the empty `folder`. Raises ModelError."""
    reporter.step(f"Exporting with weights in {weight_format}")
    arguments = ["export", "openvino", "--model", str(source), "--weight-format", weight_format, str(folder)]
    ended = run_module(
        "optimum.commands.optimum_cli",
        arguments,
        lifeline=False,
        environment={"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"},
    )
    if ended.status != 0:
        raise ModelError(
            f"optimum-cli could not export it: {ended.last_words}\n"
            "Export it yourself, with the options that it needs, and name the folder: "
            "optimum-cli export openvino --model MODEL FOLDER"
        )
    for paper in source.iterdir():
        if paper.is_file() and paper.name.upper().startswith(("LICEN", "README", "NOTICE", "USE_POLICY")):
            shutil.copy2(paper, folder / paper.name)
