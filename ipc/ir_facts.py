"""Reads what an OpenVINO model's XML, its IR, says about the model: all of it in one pass over the file."""

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

import msgspec

from ipc.model_files import FileFault
from ipc.weights_group import WeightsGraph, WeightsGroup

CONVERT_AGAIN = "download or convert the model again"
_CHUNK_BYTES = 256 * 1024
_CACHED_FILES = 16
_MAX_ELEMENTS = 2**63  # of a constant
_LAYER_DEPTH = 3  # net, layers, layer; deeper ones belong to the bodies of loops
_OPSET = re.compile(r"opset(\d{1,4})")
_RUNTIME = re.compile(r"\d+(\.\d+)+")


class IrFacts(msgspec.Struct, frozen=True):
    """What a model's XML says about it."""

    weights_bytes: int  # the minimum size of its file of weights
    inputs: dict[str, str]  # name, of the layer and of its tensor → element type, such as i64
    elements: dict[str, int]  # element type → number of elements of all constants
    weights_group: WeightsGroup
    runtime: str = ""  # the version of OpenVINO that wrote it, such as 2026.4.1; empty if it is not stated
    opset: int = 0  # the newest set of operations that it uses
    format: int = 0  # the version of the XML format


def read_ir(xml: Path) -> IrFacts:
    """Raises FileFault, naming the file, if it is not an IR. A file that did not change is parsed once."""
    try:
        found = xml.stat()
    except OSError as error:
        raise FileFault(f"cannot read {xml}: {error.strerror}") from error
    return _read_ir(xml, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(_CACHED_FILES)
def _read_ir(xml: Path, _version: tuple[int, ...]) -> IrFacts:
    collector = _Collector()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = collector.on_start
    parser.EndElementHandler = collector.on_end
    parser.StartDoctypeDeclHandler = collector.on_doctype
    try:
        with xml.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk)
            parser.Parse(b"", True)
    except OSError as error:
        raise FileFault(f"cannot read {xml}: {error.strerror}") from error
    except (expat.ExpatError, ValueError) as error:
        raise FileFault(f"{xml} is damaged ({error}); {CONVERT_AGAIN}") from error
    return collector.facts()


class _Collector:
    """Collects the facts while the XML is parsed: inputs and constants in the bodies of loops included."""

    def __init__(self) -> None:
        self._weights_bytes = 0
        self._inputs: dict[str, str] = {}
        self._elements: Counter[str] = Counter()
        self._graph = WeightsGraph()
        self._runtime = ""
        self._format = 0
        self._versions: set[str] = set()  # of operations
        self._depth = 0
        self._layer: dict[str, str] = {}  # the attributes of the layer whose description comes next
        self._input_type = ""  # of the layer whose ports come next, where it is an input

    def facts(self) -> IrFacts:
        opsets = [int(match[1]) for version in self._versions if (match := _OPSET.fullmatch(version))]
        return IrFacts(
            self._weights_bytes,
            self._inputs,
            dict(self._elements),
            self._graph.group(),
            self._runtime,
            max(opsets, default=0),
            self._format,
        )

    def on_doctype(self, *_: object) -> None:
        raise ValueError("an IR has no document type")

    def on_end(self, _: str) -> None:
        self._depth -= 1

    def on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == "layer":
            self._layer, self._input_type = attributes, ""
            self._versions.add(attributes.get("version", ""))
            if self._depth == _LAYER_DEPTH and "id" in attributes:
                self._graph.add_layer(attributes["id"], attributes.get("type", ""))
        elif name == "data":
            self._describe(self._layer, attributes)
            self._layer = {}
        elif name == "port":
            self._name_input(attributes)
        elif name == "edge":
            if self._depth == _LAYER_DEPTH:
                self._graph.add_edge(attributes)
        elif self._depth == 1:
            self._enter(name, attributes)
        else:
            self._read_runtime(name, attributes)

    def _enter(self, root: str, attributes: dict[str, str]) -> None:
        if root != "net":
            raise ValueError(f"its root is {root}, not net")
        version = attributes.get("version", "")
        self._format = int(version) if version.isdecimal() and len(version) < 5 else 0

    def _name_input(self, port: dict[str, str]) -> None:
        if self._input_type:
            for tensor in port.get("names", "").split(","):
                self._inputs.setdefault(tensor, self._input_type)

    def _read_runtime(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Runtime_version" or attributes.get("name") == "OpenVINO Runtime":
            stated = _RUNTIME.match(attributes.get("value", ""))
            self._runtime = stated[0] if stated else ""

    def _describe(self, layer: dict[str, str], data: dict[str, str]) -> None:
        kind = layer.get("type")
        if kind == "Parameter":
            self._input_type = data.get("element_type", "")
            self._inputs.setdefault(layer.get("name", ""), self._input_type)
        if kind == "Const" and "offset" in data and "size" in data:
            self._weights_bytes = max(self._weights_bytes, int(data["offset"]) + int(data["size"]))
        if "element_type" in data and "offset" in data:
            shape = [int(side) for side in data.get("shape", "").split(",") if side.strip()]
            elements = _product(shape)
            self._elements[data["element_type"]] += elements
            if self._depth == _LAYER_DEPTH + 1 and kind == "Const":
                self._graph.describe_constant(layer.get("id", ""), data["element_type"], shape, elements)


def _product(shape: list[int]) -> int:
    product = 1
    for side in shape:
        product *= side
        if not 0 <= product <= _MAX_ELEMENTS:
            raise ValueError(f"a constant has the impossible shape {shape[:8]}")
    return product
