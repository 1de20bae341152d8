"""Voices of a model that speaks: files in its folder, whose names tell their languages."""

VOICES_FOLDER = "voices"
VOICE_NAME = r"[a-z][a-z0-9]{0,15}_[a-z0-9_-]{1,48}"  # af_heart: American English, female
STYLE_BYTES = 1024  # of one style: f32 [1, 256]
LEXICONS = ("us_gold.json", "us_silver.json", "gb_gold.json", "gb_silver.json")  # of GenAI, in data/
