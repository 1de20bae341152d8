"""Checks the files of an OpenVINO model before native code reads them.

Native messages about damaged files name neither the file nor the reason.
"""

import json
import re
from pathlib import Path

from ipc.installed import newest_opset, version_of
from ipc.ir_facts import CONVERT_AGAIN, IrFacts, read_ir
from ipc.model_files import (
    MAX_DOCUMENT_BYTES,
    FileFault,
    find_faults,
    list_files,
    missing_files,
    parts_of,
    read_file,
)

_FORMAT = 11  # of XML files, since OpenVINO 2022
# Read by native code, which does not name them.
_NATIVE_JSON = {
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
}
_INPUTS = {  # of the parts of Whisper
    "encoder_model": ("input_features",),
    "decoder_model": ("input_ids", "encoder_hidden_states", "beam_idx"),
}


def check_model(folder: Path, task: str, library: str = "openvino") -> None:
    """Raise FileFault for the first file that makes the folder useless for `task`: missing, or damaged."""
    if not folder.is_dir():
        raise FileFault(f"{folder} is not a folder")
    try:
        names = list_files(folder)
    except OSError as error:
        raise FileFault(f"cannot read {folder}: {error.strerror}") from error
    if missing := missing_files(names, task, library):
        raise FileFault(f"{folder} lacks {', '.join(missing)}")
    if fault := next(find_faults(folder, names), None):
        raise FileFault(fault)
    for name in sorted(names & _NATIVE_JSON):
        check_json(folder / name)
    for part in parts_of(names, task, library):
        facts = check_ir(folder / f"openvino_{part}.xml")
        if fault := _wrong_part(part, facts.inputs):
            kind = part.replace("_", " ")
            wrong = f"{folder / f'openvino_{part}.xml'} is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
            raise FileFault(f"{wrong}: {fault}; {CONVERT_AGAIN}")


def check_json(path: Path) -> None:
    """Raises FileFault."""
    try:
        json.loads(read_file(path, MAX_DOCUMENT_BYTES))
    except (ValueError, RecursionError) as error:
        raise FileFault(f"{path} is not valid JSON ({error}); {CONVERT_AGAIN}") from error


def _wrong_part(part: str, inputs: dict[str, str]) -> str:
    """Why a model with these inputs cannot be the part; empty if it can."""
    types = set(inputs.values())
    if part == "tokenizer" and types and "string" not in types:
        return "it takes no text"
    if part != "tokenizer" and types == {"string"}:
        return "it takes text"
    if absent := [name for name in _INPUTS.get(part, ()) if name not in inputs]:
        return f"it has no input {absent[0]}"
    if part == "model" and "inputs_embeds" in inputs and "input_ids" not in inputs:
        return "it takes embeddings in place of tokens, as the language part of a vision model does"
    if part == "language_model" and "inputs_embeds" not in inputs:
        return "it takes no embeddings"
    return ""


def _needs_newer(facts: IrFacts, newest: int, here: str) -> str:
    """Why an IR cannot be read by the OpenVINO `here`; empty if nothing speaks against it.

    One that a newer OpenVINO wrote is readable as long as its format and all its operations are known here.
    """
    if newest and facts.opset > newest:
        what = f"opset{facts.opset}, and the newest here is opset{newest}"
    elif facts.format > _FORMAT and is_newer(facts.runtime, here):
        what = f"version {facts.format} of the format"
    else:
        return ""
    needed = f">= {facts.runtime}" if is_newer(facts.runtime, here) else f"with opset{facts.opset}"
    return (
        f"needs OpenVINO {needed}, here is {here}: it uses {what}; update openvino, or convert it with {here}"
    )


def newer_writer(folder: Path) -> str:
    """The version of OpenVINO that wrote a model, if it is newer than the one here; empty if not."""
    here = version_of("openvino")
    for xml in sorted(folder.glob("openvino_*.xml")):
        try:
            written = read_ir(xml).runtime
        except FileFault:
            continue
        if is_newer(written, here):
            return written
    return ""


def is_newer(version: str, here: str) -> bool:
    """Whether a version such as 2027.0.1 is newer in its first two numbers. The third never changes files."""
    return _numbers(version) > _numbers(here)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def check_ir(xml: Path) -> IrFacts:
    """Raise FileFault, naming the file, if the XML is damaged or the weights beside it are cut off."""
    facts = read_ir(xml)
    if fault := _needs_newer(facts, newest_opset(), version_of("openvino")):
        raise FileFault(f"{xml} {fault}")
    weights = xml.with_suffix(".bin")
    try:
        size = weights.stat().st_size
    except OSError as error:
        raise FileFault(f"cannot read {weights}: {error.strerror}") from error
    if size < facts.weights_bytes:
        raise FileFault(f"{weights} is incomplete: {size} of {facts.weights_bytes} bytes; {CONVERT_AGAIN}")
    return facts
