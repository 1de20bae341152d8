"""Models and tokenizers of Optimum Intel and Transformers, of the extra `optimum`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from host.errors import LaunchError
from host.vectors.batch import Batch
from host.vectors.folder import MODEL_FILE, VectorFolder
from host.vectors.framing import PROBES, find_framing
from host.vectors.model import Library, Output
from host.vectors.native import choose_properties, compile_properties
from host.vectors.request import IntArray
from ipc.messages import Launch, VectorOptions

_MISSING = "Optimum Intel is not installed; run: pip install 'nacelle-server[optimum]'"


def load_feature_extraction(folder: VectorFolder, launch: Launch[VectorOptions]) -> Library:
    """With OVModelForFeatureExtraction. Converts a folder of PyTorch weights as it loads.

    Raises LaunchError without the extra, and whatever Optimum raises.
    """
    return _load("OVModelForFeatureExtraction", "last_hidden_state", folder, launch)


def load_sequence_classification(folder: VectorFolder, launch: Launch[VectorOptions]) -> Library:
    """With OVModelForSequenceClassification; else the same."""
    return _load("OVModelForSequenceClassification", "logits", folder, launch)


def _load(kind: str, output: str, folder: VectorFolder, launch: Launch[VectorOptions]) -> Library:
    try:
        from optimum import intel
        from transformers import AutoTokenizer
    except ImportError as error:
        raise LaunchError(_MISSING) from error
    tokenizer = AutoTokenizer.from_pretrained(folder.path)
    chosen = choose_properties(launch, streams=1)

    def load() -> Any:
        return getattr(intel, kind).from_pretrained(
            folder.path,
            export=not (folder.path / MODEL_FILE).is_file(),
            device=launch.device,
            ov_config=compile_properties(launch, chosen),
        )

    return Library(OptimumTokenizer(tokenizer), OptimumModel(load, output, folder.segments, chosen))


class OptimumTokenizer:
    """Over a tokenizer of Transformers."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self.framing = find_framing(self._encode_framed(PROBES), np.array(native(*PROBES)["input_ids"]))

    def encode(self, texts: Sequence[str]) -> list[IntArray]:
        return [self.framing.strip(ids) for ids in self._encode_framed(texts)]

    def _encode_framed(self, texts: Sequence[str]) -> list[IntArray]:
        encoded = self._native(list(texts), padding=False, truncation=False, return_attention_mask=False)
        return [np.array(ids, np.int64) for ids in encoded["input_ids"]]


class OptimumModel:
    """Over a model of Optimum, which takes and gives numpy arrays."""

    lanes = 1  # it has one inference request

    def __init__(self, load: Callable[[], Any], output: str, segments: bool, chosen: dict[str, str]) -> None:
        """`load` loads the model. Without `segments`, pairs are not told apart by token types."""
        self.chosen = chosen
        self._load = load
        self._output = output
        self._segments = segments
        self.reset()

    def run(self, batch: Batch) -> Output:
        types = batch.types if self._segments else np.zeros_like(batch.types)
        outputs = self._native(input_ids=batch.ids, attention_mask=batch.mask, token_type_ids=types)
        output: Output = outputs[self._output]
        return output

    def reset(self) -> None:
        self._native = self._load()
