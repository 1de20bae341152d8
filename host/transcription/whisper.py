"""The native Whisper pipeline: one window in, what it heard out, with the engine's traps kept inside."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import openvino_genai as genai

from host.audio.samples import RATE, Samples
from host.engines.quantization import given_properties
from host.transcription.folder import WhisperFolder, token_of
from host.transcription.repetition import is_loop, without_repeats
from host.transcription.segments import Heard, HeardSegment, HeardWord
from ipc.messages import Launch, TranscriptionOptions

_MAX_TOKENS = 224  # of a window: 30 seconds of the fastest speech
_PROMPT_TOKENS = 200
_KEYWORD_TOKENS = 100  # of them
_MAX_PASSES = 4  # over a window: what follows the last segment is heard again
_SPECIAL = re.compile(r"<\|[^|]*\|>")
_RETRIES = (0.2, 0.5, 0.8)  # temperatures, when a text runs in circles


class Ask(NamedTuple):
    """How a recording is to be transcribed."""

    language: str | None  # a code; None: to be detected
    translate: bool
    prompt: str
    temperature: float
    words: bool


class Whisper:
    """Belongs to one thread."""

    def __init__(self, launch: Launch[TranscriptionOptions], folder: WhisperFolder) -> None:
        """Load the model. Raises RuntimeError."""
        self._launch, self._folder = launch, folder
        self._pipeline: Any = None
        self._times_words = False  # the pipeline does: it is a tenth slower then
        self.load(words=False)

    def can_hear(self, *, words: bool) -> bool:
        """Whether a window can be heard, with the times of its words if so wanted, without a load."""
        return self._pipeline is not None and (self._times_words or not words or not self._folder.aligns)

    def load(self, *, words: bool) -> None:
        """Load the pipeline, again if it is there, which holds the interpreter's lock. Who asked for words
        once may ask again: it stays able to tell their times. Raises RuntimeError."""
        self._times_words = self._folder.aligns and (words or self._times_words)
        self._pipeline = None  # two at a time may not fit
        self._pipeline = genai.WhisperPipeline(
            self._folder.path,
            self._launch.device,
            word_timestamps=self._times_words,
            **given_properties(self._launch),
        )
        self._tokenizer = self._pipeline.get_tokenizer()

    def prompt_of(self, prompt: str, keywords: list[str]) -> str:
        """What the model is to believe it wrote before: keywords, then the end of the prompt."""
        listed = self._last_tokens(", ".join(_plain(keyword) for keyword in keywords), _KEYWORD_TOKENS)
        rest = _PROMPT_TOKENS - self._count(listed)
        return " ".join(
            part for part in (f"{listed}." if listed else "", self._last_tokens(_plain(prompt), rest)) if part
        )

    def hear(self, samples: Samples, ask: Ask, wanted: Callable[[], bool]) -> Heard:
        """`samples`: a window, at most 30 seconds; the engine raises below 201 samples. Times are in seconds
        from the first one. Stops early where it is no longer `wanted`.

        Raises what the pipeline raises. Its state is undefined then, so that it must be loaded again.
        """
        try:
            heard, exhausted = self._generate(samples, ask, wanted)
            for temperature in _RETRIES:
                if not is_loop(heard.text, len(samples) / RATE, exhausted) or not wanted():
                    return heard
                heard, exhausted = self._generate(
                    samples, ask._replace(temperature=max(temperature, ask.temperature)), wanted
                )
        except Exception:
            self._pipeline = None
            raise
        if is_loop(heard.text, len(samples) / RATE, exhausted):
            return heard._replace(segments=without_repeats(heard.segments))
        return heard

    def _generate(self, samples: Samples, ask: Ask, wanted: Callable[[], bool]) -> tuple[Heard, bool]:
        """Also whether a pass came to its last token without an end."""
        passes = _Passes(wanted)
        result = self._pipeline.generate(samples, streamer=passes, **self._options(ask))
        segments = [HeardSegment(chunk.start_ts, chunk.end_ts, chunk.text) for chunk in result.chunks or ()]
        words = [
            HeardWord(word.start_ts, word.end_ts, word.word) for word in (result.words or ()) if ask.words
        ]
        return Heard(result.language, segments, words), passes.longest >= _MAX_TOKENS - 2

    def _options(self, ask: Ask) -> dict[str, Any]:
        options: dict[str, Any] = {
            "return_timestamps": True,
            "word_timestamps": ask.words and self._times_words,
            "max_new_tokens": _MAX_TOKENS,
        }
        if self._folder.multilingual:
            options["task"] = "translate" if ask.translate else "transcribe"
            if ask.language is not None:
                options["language"] = token_of(ask.language)
        if ask.prompt:
            options["initial_prompt"] = ask.prompt
        if ask.temperature > 0:
            options |= {"do_sample": True, "temperature": ask.temperature}
        return options

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).input_ids.data[0]) if text else 0

    def _last_tokens(self, text: str, limit: int) -> str:
        """The end of a text, at most `limit` tokens of it, cut at a space if there is one."""
        text = text[-limit * 16 :].strip()
        while text and (tokens := self._count(text)) > limit:
            cut = max(1, len(text) * (tokens - limit) // tokens)
            space = text.find(" ", cut)
            text = text[space if space > 0 else cut :].strip()
        return text


class _Passes(genai.StreamerBase):  # type: ignore[misc]
    """Gets the tokens of each pass over a window, and ends it when it is not wanted or too long."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._wanted = wanted
        self._passes = 0
        self.longest = 0  # tokens

    def write(self, tokens: int | list[int]) -> Any:
        self._passes += 1
        self.longest = max(self.longest, len(tokens) if isinstance(tokens, list) else 1)
        goes_on = self._wanted() and self._passes < _MAX_PASSES
        return genai.StreamingStatus.RUNNING if goes_on else genai.StreamingStatus.STOP

    def end(self) -> None:
        pass


def _plain(text: str) -> str:
    """Without what the tokenizer would take for a special token."""
    return " ".join(_SPECIAL.sub(" ", text).replace("<|", "< |").split())
