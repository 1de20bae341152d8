"""Text generation about images, on the same pipeline as for text: requests with and without are batched.

A vision model's pipeline takes text and images where others take token ids, and counts their tokens itself.
"""

import io
import time
from typing import Any, cast

import msgspec
from PIL import Image

from host.detokenizer import Detokenizer
from host.engines.pipeline import Pipeline
from host.engines.prompt_ids import PromptReader
from host.engines.text import TextEngine
from host.engines.text_loading import TextParts, build_engine, warm_up
from host.engines.vision_pipeline import VisionPipeline
from host.engines.vision_prompts import VisionPromptReader
from host.errors import LaunchError
from host.media_phases import MediaPhases
from host.model_folder import ModelFolder
from host.results import Results
from ipc.messages import ChatMessage, ChatPrompt, Launch, MediaPart, Prompt, TextOptions, TextPart, TextPrompt
from ipc.progress import ProgressWriter

_WARM_UP_SIDE = 64  # pixels


def load_vision_engine(launch: Launch[TextOptions], _results: Results) -> TextEngine:
    """Load a vision model from a folder of IRs. Raises FileFault, LaunchError, RuntimeError."""
    started = time.monotonic()
    if launch.device.startswith("NPU"):
        raise LaunchError("vision models are served on CPUs and GPUs only; change --device")
    if launch.options.speculation is not None:
        raise LaunchError(
            "vision models have no speculative decoding; remove --draft-model and --prompt-lookup"
        )
    # The pipeline files blocks of a prompt with images under a few of their numbers, without the places that
    # they have in the image, so that one picture's blocks may be taken for another's.
    options = msgspec.structs.replace(launch.options, prefix_caching=False)
    phases = MediaPhases(launch.stall_seconds)
    engine = build_engine(msgspec.structs.replace(launch, options=options), _VisionParts(phases))
    assert isinstance(engine, VisionEngine)
    engine.phases = phases
    warm_up(engine, _first_prompt(engine))
    engine.card.load_seconds = time.monotonic() - started
    return engine


def _first_prompt(engine: TextEngine) -> Prompt:
    if not engine.card.chat_template:
        return TextPrompt("Hello")
    file = io.BytesIO()
    Image.new("RGB", (_WARM_UP_SIDE, _WARM_UP_SIDE)).save(file, "PNG")
    return ChatPrompt([ChatMessage("user", [MediaPart("image/png", file.getvalue()), TextPart("Hello")])])


class VisionEngine(TextEngine):
    phases: MediaPhases

    def report_to(self, progress: ProgressWriter) -> None:
        self.phases.report_to(progress)


class _VisionParts(TextParts):
    takes_images = True
    engine_type = VisionEngine

    def __init__(self, phases: MediaPhases) -> None:
        self._phases = phases

    def reader(self, tokenizer: Any, folder: ModelFolder, detokenizer: Detokenizer[Any]) -> PromptReader:
        def text_of(ids: list[int]) -> str:
            stream = detokenizer.open(False)
            (text,) = detokenizer.feed([(stream, ids)])
            return text + detokenizer.finish(stream)

        return VisionPromptReader(tokenizer, folder, detokenizer.longest_token, text_of)

    def pipeline(
        self, launch: Launch[TextOptions], folder: ModelFolder, tokenizer: Any, reader: PromptReader
    ) -> Pipeline:
        return VisionPipeline(launch, folder, tokenizer, cast(VisionPromptReader, reader), self._phases.of)
