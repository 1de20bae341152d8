"""The protocol: one Struct per message, one line per field, one module per task.

Messages travel as msgpack arrays tagged with the class name; a frame is an array of messages. Only the
Structs of this package, and the leases and errors they hold, ever cross the boundary.
"""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import Any

from ipc.messages.core import (
    INLINE_LIMIT_BYTES,
    Cancel,
    Drain,
    Failed,
    Fatal,
    Gauges,
    Launch,
    Message,
    ModelCard,
    Options,
    Payload,
    Produced,
    Ready,
    Release,
    Reply,
    Result,
    Task,
    Work,
)
from ipc.messages.speech import (
    AudioFormat,
    Speak,
    SpeechCard,
    SpeechInput,
    SpeechOptions,
    Spoken,
    Voice,
    VoiceWeight,
)
from ipc.messages.text import (
    PROMPT_TAIL,
    Accepted,
    Adapter,
    ChatMessage,
    ChatPrompt,
    ContentPart,
    Delta,
    Detokenize,
    Detokenized,
    DraftModel,
    Finish,
    FinishReason,
    Generate,
    GenerationDefaults,
    MediaPart,
    Prompt,
    PromptLookup,
    PromptScored,
    Sampling,
    Speculation,
    TextCard,
    TextInput,
    TextOptions,
    TextPart,
    TextPrompt,
    Tokenize,
    Tokenized,
    TokenPrompt,
    ToolCall,
)
from ipc.messages.transcription import (
    DetectSpeech,
    Segment,
    SpeechDetected,
    SpeechSpan,
    Transcribe,
    Transcribed,
    TranscriptionCard,
    TranscriptionOptions,
    VoiceActivity,
    Word,
)
from ipc.messages.vectors import (
    Embed,
    Embedded,
    EmbedInputs,
    Rerank,
    Reranked,
    RerankInputs,
    VectorCard,
    VectorOptions,
)

# The registry: a new task is one module beside this one, with a TASK in it, and one line here.
_MODULES = (
    "text",
    "vectors",
    "transcription",
    "speech",
)
TASKS: tuple[Task, ...] = tuple(import_module(f"{__name__}.{module}").TASK for module in _MODULES)


def task_of(engine: str) -> Task:
    """The task that an engine serves."""
    return next(task for task in TASKS if engine in task.engines)


def task_with(card: ModelCard) -> Task:
    """The task of a model with this card."""
    return next(task for task in TASKS if isinstance(card, task.card))


ToHost = Work | Cancel | Drain | Release
ToFrontend = Ready[Any] | Reply | Failed | Release | Gauges | Fatal


def _union(kinds: list[Any]) -> Any:
    return reduce(or_, kinds)


_READY: Any = Ready  # mypy takes no variable as a type argument
OPTIONS_TYPE: Any = _union([task.options for task in TASKS])
CARD_TYPE: Any = _union([task.card for task in TASKS])
TO_HOST_TYPE: Any = _union([*(kind for task in TASKS for kind in task.work), Cancel, Drain, Release])
TO_FRONTEND_TYPE: Any = _union(
    [*(kind for task in TASKS for kind in task.replies), _READY[CARD_TYPE], Failed, Release, Gauges, Fatal]
)

__all__ = [
    "CARD_TYPE",
    "INLINE_LIMIT_BYTES",
    "OPTIONS_TYPE",
    "PROMPT_TAIL",
    "TASKS",
    "TO_FRONTEND_TYPE",
    "TO_HOST_TYPE",
    "Accepted",
    "Adapter",
    "AudioFormat",
    "Cancel",
    "ChatMessage",
    "ChatPrompt",
    "ContentPart",
    "Delta",
    "DetectSpeech",
    "Detokenize",
    "Detokenized",
    "DraftModel",
    "Drain",
    "Embed",
    "EmbedInputs",
    "Embedded",
    "Failed",
    "Fatal",
    "Finish",
    "FinishReason",
    "Gauges",
    "Generate",
    "GenerationDefaults",
    "Launch",
    "MediaPart",
    "Message",
    "ModelCard",
    "Options",
    "Payload",
    "Produced",
    "Prompt",
    "PromptLookup",
    "PromptScored",
    "Ready",
    "Release",
    "Reply",
    "Rerank",
    "RerankInputs",
    "Reranked",
    "Result",
    "Sampling",
    "Segment",
    "Speak",
    "Speculation",
    "SpeechCard",
    "SpeechDetected",
    "SpeechInput",
    "SpeechOptions",
    "SpeechSpan",
    "Spoken",
    "Task",
    "TextCard",
    "TextInput",
    "TextOptions",
    "TextPart",
    "TextPrompt",
    "ToFrontend",
    "ToHost",
    "TokenPrompt",
    "Tokenize",
    "Tokenized",
    "ToolCall",
    "Transcribe",
    "Transcribed",
    "TranscriptionCard",
    "TranscriptionOptions",
    "VectorCard",
    "VectorOptions",
    "Voice",
    "VoiceActivity",
    "VoiceWeight",
    "Word",
    "Work",
    "task_of",
    "task_with",
]
