"""The voices that requests name: a model's own, other names of them, and blends. Pure."""

import re
from collections.abc import Mapping

from frontend.errors import BadRequest
from frontend.shortened import quoted
from ipc.messages import SpeechCard, VoiceWeight
from ipc.voices import MAX_BLENDED

DEFAULT = "default"  # the alias of the voice for requests that name none

# OpenAI's voices → voices of Kokoro with a similar sound. A model that lacks one uses its default voice.
OPENAI_VOICES = {
    "alloy": "af_alloy",
    "ash": "am_michael",
    "ballad": "bm_george",
    "cedar": "am_puck",
    "coral": "af_sarah",
    "echo": "am_echo",
    "fable": "bm_fable",
    "marin": "af_heart",
    "nova": "af_nova",
    "onyx": "am_onyx",
    "sage": "af_kore",
    "shimmer": "af_bella",
    "verse": "am_fenrir",
}
_FAVOURITE = "af_heart"
# NAME, NAME:WEIGHT, or NAME(WEIGHT) as Kokoro-FastAPI has it
_PART = re.compile(
    r"([\w.-]{1,100})(?::(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})|\((\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\))?"
)


def blend_of(
    name: str | None, language: str | None, aliases: Mapping[str, str], card: SpeechCard
) -> list[VoiceWeight]:
    """The voices of a request and their weights, which add up to 1. Raises BadRequest.

    `language`, a BCP 47 tag or its beginning, chooses a voice where the request names none of the model's
    own, and must otherwise be the voice's. Whether the model has the voices, its host checks.
    """
    spoken = {voice.name: voice.language for voice in card.voices}
    if language is None:
        default = _default_of(spoken, aliases)
    else:
        default = _first_of(spoken, language)
        if name is None or (name in OPENAI_VOICES and name not in spoken and name not in aliases):
            name = default
    parts = _parts(default if name is None else _resolved(name, aliases, spoken, default))
    blend: list[tuple[str, float]] = []
    for part, weight in parts:
        inner = _parts(_resolved(part, aliases, spoken, default))
        total = sum(share for _, share in inner)
        blend += [(voice, weight * share / total) for voice, share in inner]
    if len(blend) > MAX_BLENDED:
        raise BadRequest(f"voice: a blend has at most {MAX_BLENDED} voices, not {len(blend)}", "voice")
    if language is not None:
        _check_language(blend[0][0], language, spoken)
    total = sum(weight for _, weight in blend)
    return [VoiceWeight(voice, weight / total) for voice, weight in blend]


def _default_of(spoken: Mapping[str, str], aliases: Mapping[str, str]) -> str:
    if DEFAULT in aliases:
        return aliases[DEFAULT]
    return _FAVOURITE if _FAVOURITE in spoken else next(iter(spoken))


def _first_of(spoken: Mapping[str, str], language: str) -> str:
    """The model's best known or first voice of a language."""
    voices = [voice for voice, tag in spoken.items() if _is_spoken(tag, language)]
    if not voices:
        known = ", ".join(dict.fromkeys(spoken.values()))
        raise BadRequest(f"lang: the model does not speak {quoted(language)}; it speaks {known}", "lang")
    return _FAVOURITE if _FAVOURITE in voices else voices[0]


def _is_spoken(tag: str, language: str) -> bool:
    wanted = language.lower().replace("_", "-")
    return (
        tag.lower() == wanted
        or tag.lower().partition("-")[0] == wanted
        or wanted.partition("-")[0] == tag.lower()
    )


def _check_language(voice: str, language: str, spoken: Mapping[str, str]) -> None:
    if voice in spoken and not _is_spoken(spoken[voice], language):
        instead = ", ".join(name for name, tag in spoken.items() if _is_spoken(tag, language))
        raise BadRequest(f"lang: the voice {voice} speaks {spoken[voice]}; use one of {instead}", "lang")


def _resolved(name: str, aliases: Mapping[str, str], spoken: Mapping[str, str], default: str) -> str:
    """What an alias stands for; any other name unchanged."""
    if name in aliases:
        return aliases[name]
    if name in spoken or name not in OPENAI_VOICES:
        return default if name == DEFAULT and name not in spoken else name
    known = OPENAI_VOICES[name]
    return known if known in spoken else default


def _parts(name: str) -> list[tuple[str, float]]:
    parts = []
    for text in name.split("+"):
        part = _PART.fullmatch(text.strip())
        if part is None:
            raise BadRequest(
                f"voice: {quoted(name)} is not a voice; write NAME, or NAME:WEIGHT+NAME:WEIGHT for a blend",
                "voice",
            )
        weight = float(part[2] or part[3] or 1)
        if not weight:
            raise BadRequest(f"voice: the weight of {part[1]} must be above 0", "voice")
        parts.append((part[1], weight))
    return parts
