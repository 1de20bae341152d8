"""Text to speech: text in, encoded audio out, sentence by sentence."""

from typing import Literal

from ipc.messages.core import ModelCard, Options, Produced, Task, Value, Work

Library = Literal["genai", "openvino"]
AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

# --- launching -----------------------------------------------------------------------------------------


class SpeechOptions(Options):
    library: Library = "genai"  # what computes: OpenVINO GenAI's pipeline, or OpenVINO alone


class Voice(Value):
    name: str
    language: str  # a BCP 47 tag, such as en-US


class SpeechCard(ModelCard):
    voices: list[Voice]
    sample_rate: int  # samples per second


# --- replies -------------------------------------------------------------------------------------------


class Spoken(Produced):
    """The bytes that one sentence adds to the audio file; the last reply holds what ends the file."""

    samples: int  # that the sentence and the pause after it are
    last: bool = False

    @property
    def ends(self) -> bool:
        return self.last

    @property
    def units(self) -> int:
        return 0 if self.last else 1

    def check(self, card: ModelCard) -> None:
        if not isinstance(card, SpeechCard):
            raise ValueError("speech from a model that does not speak")
        if not isinstance(self.payload, bytes) or self.samples < 0:
            raise ValueError(f"speech of {self.samples} samples")


# --- work ----------------------------------------------------------------------------------------------


class VoiceWeight(Value):
    """A part of a blend of voices."""

    name: str
    weight: float  # above 0; the weights of a blend add up to 1


class SpeechInput(Value):
    """The payload of Speak."""

    text: str


class Speak(Work):
    """Read a text aloud, one sentence after the other.

    A host that continues after another gets the number of sentences sent so far, and of the samples in them
    and the pauses after them: its encoder goes on from there.
    """

    answers = (Spoken,)

    voice: list[VoiceWeight] = []
    speed: float = 1.0
    format: AudioFormat = "mp3"
    resume_sentences: int = 0
    resume_samples: int = 0

    @property
    def done_units(self) -> int:
        return self.resume_sentences


TASK = Task(
    name="speech",
    engines=("speech",),
    options=SpeechOptions,
    card=SpeechCard,
    work=(Speak,),
    replies=(Spoken,),
)
