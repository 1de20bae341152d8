"""Checks the files of an OpenVINO model before native code reads them.

Native messages about damaged files name neither the file nor the reason.
"""

import json
from pathlib import Path
from xml.parsers import expat

import msgspec

from ipc.model_files import MAX_DOCUMENT_BYTES, FileFault, find_faults, list_files, parts_of, read_file

_CHUNK_BYTES = 256 * 1024
# Read by native code, which does not name them.
_NATIVE_JSON = {"config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"}
_AGAIN = "download or convert the model again"


class IrFacts(msgspec.Struct, frozen=True):
    """What a model's XML says of it."""

    weights_bytes: int  # the least size of its file of weights
    inputs: dict[str, str]  # name → element type, such as i64


def check_model(folder: Path, task: str, library: str = "openvino") -> None:
    """Raise FileFault for the first file that makes a folder with the files of `task` useless."""
    try:
        names = list_files(folder)
    except OSError as error:
        raise FileFault(f"cannot read {folder}: {error.strerror}") from error
    if fault := next(find_faults(folder, names), None):
        raise FileFault(fault)
    for name in sorted(names & _NATIVE_JSON):
        check_json(folder / name)
    for part in parts_of(names, task, library):
        facts = check_ir(folder / f"openvino_{part}.xml")
        if fault := _wrong_part(part, facts.inputs):
            raise FileFault(f"{folder / f'openvino_{part}.xml'} is not a {part}: {fault}; {_AGAIN}")


def check_json(path: Path) -> None:
    """Raises FileFault."""
    try:
        json.loads(read_file(path, MAX_DOCUMENT_BYTES))
    except (ValueError, RecursionError) as error:
        raise FileFault(f"{path} is not valid JSON ({error}); {_AGAIN}") from error


def _wrong_part(part: str, inputs: dict[str, str]) -> str:
    """Why a model with these inputs cannot be the part; empty if it can."""
    types = set(inputs.values())
    if part == "tokenizer" and types and "string" not in types:
        return "it takes no text"
    if part != "tokenizer" and types == {"string"}:
        return "it takes text"
    if part == "model" and "inputs_embeds" in inputs and "input_ids" not in inputs:
        return "it takes embeddings in place of tokens, as the language part of a vision model does"
    return ""


def check_ir(xml: Path) -> IrFacts:
    """Raise FileFault, naming the file, if the XML is damaged or the weights beside it are cut off."""
    facts = read_ir(xml)
    weights = xml.with_suffix(".bin")
    try:
        size = weights.stat().st_size
    except OSError as error:
        raise FileFault(f"cannot read {weights}: {error.strerror}") from error
    if size < facts.weights_bytes:
        raise FileFault(f"{weights} is incomplete: {size} of {facts.weights_bytes} bytes; {_AGAIN}")
    return facts


def read_ir(xml: Path) -> IrFacts:
    """Raises FileFault, naming the file, if it is not an IR."""
    graph = _Graph()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = graph.on_start
    parser.StartDoctypeDeclHandler = graph.on_doctype
    try:
        with xml.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk)
            parser.Parse(b"", True)
    except OSError as error:
        raise FileFault(f"cannot read {xml}: {error.strerror}") from error
    except (expat.ExpatError, ValueError) as error:
        raise FileFault(f"{xml} is damaged ({error}); {_AGAIN}") from error
    return IrFacts(graph.weights_bytes, graph.inputs)


class _Graph:
    """Collects the constants and inputs of an IR, those in the bodies of loops included."""

    def __init__(self) -> None:
        self.weights_bytes = 0
        self.inputs: dict[str, str] = {}
        self._root = ""
        self._kind = ""  # of the layer whose description comes next
        self._name = ""

    def on_doctype(self, *_: object) -> None:
        raise ValueError("an IR has no document type")

    def on_start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "layer":
            self._kind, self._name = attributes.get("type", ""), attributes.get("name", "")
        elif name == "data" and self._kind:
            self._describe(attributes)
            self._kind = ""
        elif not self._root:
            self._root = name
            if name != "net":
                raise ValueError(f"its root is {name}, not net")

    def _describe(self, attributes: dict[str, str]) -> None:
        if self._kind == "Const" and "offset" in attributes and "size" in attributes:
            end = int(attributes["offset"]) + int(attributes["size"])
            self.weights_bytes = max(self.weights_bytes, end)
        elif self._kind == "Parameter":
            self.inputs.setdefault(self._name, attributes.get("element_type", ""))
