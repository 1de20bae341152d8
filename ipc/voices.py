"""Voices of a model that speaks: files in its folder, whose names begin with their language."""

import re

VOICES_FOLDER = "voices"
STYLE_BYTES = 1024  # of one style: f32 [1, 256]
MAX_STYLES = 4096  # of a voice, one for each number of phonemes; real ones have 510
MAX_BLENDED = 16  # voices
LEXICON_FOLDER = "data"  # of GenAI's pipeline
LEXICONS = ("us_gold.json", "us_silver.json", "gb_gold.json", "gb_silver.json")
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}_[a-z0-9_-]{1,48}")  # af_heart: American English, female


def is_voice_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
