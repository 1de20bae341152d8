"""A compiled OpenVINO model that computes batches of token rows."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

from host.engines.quantization import chosen_properties, given_properties
from host.model_folder import ModelFolderError
from host.vectors.batch import Batch
from host.vectors.folder import MODEL_FILE, VectorFolder
from host.vectors.model import Output
from ipc.messages import Launch, VectorOptions

_MOST_LANES = 4  # passes at once: what is in a lane can no longer be regrouped
_STREAMS = 2  # on a CPU: short texts cost 10 % less than in one stream, and one computes while the other ends
_INPUTS: dict[str, Callable[[Batch], npt.NDArray[Any]]] = {
    "input_ids": lambda batch: batch.ids,
    "attention_mask": lambda batch: batch.mask,
    "token_type_ids": lambda batch: batch.types,
    "position_ids": lambda batch: np.broadcast_to(np.arange(batch.mask.shape[1]), batch.mask.shape),
    "beam_idx": lambda batch: np.arange(len(batch.mask)),
    "last_token": lambda batch: np.append(batch.lengths, np.ones(len(batch.mask) - batch.inputs, int)) - 1,
}


def read_model(folder: VectorFolder) -> ov.Model:
    """Raises ModelFolderError if the folder has no IR."""
    if not (folder.path / MODEL_FILE).is_file():
        raise ModelFolderError(f"{folder.path} lacks {MODEL_FILE}")
    return ov.Core().read_model(folder.path / MODEL_FILE)


def outputs_of(model: ov.Model) -> dict[str, int]:
    """The rank of each output by its name."""
    return {port.any_name: port.partial_shape.rank.get_length() for port in model.outputs}


class NativeModel:
    """One output of a model. May run in as many threads at once as it has lanes."""

    def __init__(self, model: ov.Model, output: str, segments: bool, launch: Launch[VectorOptions]) -> None:
        """Compile for the launch's device. Without `segments`, pairs are not told apart by token types.

        Raises RuntimeError, and ModelFolderError if the model has inputs that are not known.
        """
        self._ports = {port.any_name: port.element_type.to_dtype() for port in model.inputs}
        unknown = [name for name in self._ports if name not in _INPUTS]
        if unknown:
            raise ModelFolderError(f"the model has inputs of an unknown kind: {', '.join(unknown)}")
        self._model, self._output, self._segments = model, output, segments
        self.chosen = choose_properties(launch)
        self._device, self._properties = launch.device, compile_properties(launch, self.chosen)
        self.reset()

    def reset(self) -> None:
        """Compile again. The CPU plugin keeps some shapes of a pass that failed, and later passes of earlier
        shapes then fail as well."""
        self._requests = threading.local()  # with the requests goes the model, before there is another
        self._compiled: Any = None
        self._compiled = ov.Core().compile_model(self._model, self._device, self._properties)

    @property
    def lanes(self) -> int:
        wanted = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        return max(1, min(_MOST_LANES, wanted))

    def run(self, batch: Batch) -> Output:
        """The output for a batch, padding rows included. Valid until the next call in the same thread."""
        request = self._request()
        inputs = {name: self._input(name, batch) for name in self._ports}
        output: Output = request.infer(inputs, share_inputs=True, share_outputs=True)[self._output]
        return output

    def _input(self, name: str, batch: Batch) -> npt.NDArray[Any]:
        if name == "token_type_ids" and not self._segments:
            return np.zeros_like(batch.types)
        return np.ascontiguousarray(_INPUTS[name](batch), self._ports[name])

    def _request(self) -> Any:
        """The calling thread's own request, with an empty state."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        if "beam_idx" in self._ports:
            self._requests.own.reset_state()
        return self._requests.own


def choose_properties(launch: Launch[VectorOptions], streams: int = _STREAMS) -> dict[str, str]:
    """Properties that the launch leaves to us: on a CPU, the number of streams and a quantization group."""
    chosen: dict[str, str] = {}
    if launch.device.startswith("CPU") and not launch.properties.keys() & {"PERFORMANCE_HINT", "NUM_STREAMS"}:
        chosen["NUM_STREAMS"] = str(min(streams, launch.threads or streams))
    if (Path(launch.path) / MODEL_FILE).is_file():
        chosen |= chosen_properties(launch, Path(launch.path))
    return chosen


def compile_properties(launch: Launch[VectorOptions], chosen: dict[str, str]) -> dict[str, str]:
    """All properties to compile with: the launch's and those `chosen`."""
    return given_properties(launch) | chosen
