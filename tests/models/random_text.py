"""Models that write random text, to test grammars: whatever a grammar allows comes sometime.

What they write ends as soon as the grammar lets it, and each string in it after about _LENGTH tokens, unless
it must be shorter. Their vocabularies are small, since an engine computes a mask and a probability for each
token, and a grammar is compiled for each; but they hold many tokens of a well-known model in which a text and
the marks around it can meet.

Like any model that has learned from texts, they write valid UTF-8; the engine's grammars do not see to that.
"""

import math
import re
from importlib import metadata
from pathlib import Path

import numpy as np

from tests.models.cache import cached
from tests.models.scripted import save
from tests.models.scripted_graph import Rule, Rules
from tests.models.scripted_vocabulary import Form, Tokens

TEMPERATURE = 1.5  # at which texts are as long as said above
_LENGTH = 40
_RECIPE = 1  # counts the models that this module has made
_MEETING, _MEETINGS = '"{}[]<>\\\n', 1000
# What ends a string in JSON, and in the formats that do not quote.
_PARAMETER_ENDS = ("</parameter>", "\n</parameter>", "</｜DSML｜parameter>")
_STRING_ENDS = ('"', "'", "</arg_value>", "<|end|>", *_PARAMETER_ENDS)
_LIST_ENDS = ("]", "}")
# Bytes that are never valid, and first bytes of characters after which not every second byte is.
_MALFORMED = re.compile(rb"[\xc0\xc1\xf5-\xff]|[\xe0\xed\xf0\xf4]\Z")
_BYTE_TOKEN = re.compile(rb"<0x(..)>")
_NEVER = -60.0
_END = "</s>"
_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def random_text_model(form: Form) -> Path:
    """The IR folder of a model with a vocabulary of this form."""
    name = f"random-text-{_RECIPE}-{metadata.version('openvino-genai')}/{form}"
    return cached(name, lambda folder: _write(folder, form))


def _write(folder: Path, form: Form) -> None:
    tokens = Tokens(form)
    tokens.add_special(_END, hidden=True)
    tokens.add_real(_MEETING, _MEETINGS)
    for text in _STRING_ENDS:
        if text.encode() not in tokens.ids:
            tokens.add_script(text.encode())
    likings = _likings(tokens)
    rules = Rules([0] * len(likings), [Rule(0, tokens.ids[_END.encode()])], {}, likings)
    save(folder, tokens, rules, _TEMPLATE, [_END])


def _likings(tokens: Tokens) -> list[float]:
    likings = np.random.default_rng(1).standard_normal(len(tokens.pieces))
    total = float(np.exp(likings / TEMPERATURE).sum())
    for text in _STRING_ENDS:
        likings[tokens.ids[text.encode()]] = TEMPERATURE * math.log(total / _LENGTH)
    for text in _LIST_ENDS:
        likings[tokens.ids[text.encode()]] = 2.0
    for number, piece in enumerate(tokens.pieces):
        byte = _BYTE_TOKEN.fullmatch(piece) if tokens.form == "sentencepiece" else None
        if _MALFORMED.search(bytes.fromhex(byte[1].decode()) if byte else piece):
            likings[number] = _NEVER
    return [float(liking) for liking in likings]
