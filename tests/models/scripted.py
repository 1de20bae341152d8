"""Models that write texts which a test chooses, token by token, to test all that reads a model's texts.

A model has one or more scripts. Each has a key, a word, and the model writes the last script whose key is in
the prompt; the key "" is in every prompt. So one model can answer several questions, and answer again after a
tool's result:

    scripted_model({"": "Hello.", "paris": '<tool_call>…</tool_call>', "sunny": "It is sunny."}, template)

Texts are cut into tokens at random, but always in the same way. Markup that templates treat as one token is
one. Where a grammar forbids what a script wants, the model ends what it has begun.
"""

import hashlib
import json
import random
import re
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.models.cache import cached
from tests.models.scripted_graph import Rule, Rules, build, head_dim
from tests.models.scripted_vocabulary import BOS, Form, Tokens

_RECIPE = 1  # counts the models that this module and its parts have made
_CONTEXT = 131_072
_LONGEST = 6  # units of a text in one token, unless all shorter ones are taken
_EMOJI = 0x10000  # characters from here on are several tokens in SentencePiece's vocabularies
_SHOWN = re.compile(r"</?(?:think|tool_call|tool_response|arg_key|arg_value|minimax:tool_call)>")
_HIDDEN = re.compile(
    r"<\|[^<>|\s]+\|>|<｜[^<>｜\s]+｜>|｜DSML｜|\[/?[A-Z_]{3,}\]|</?s>|<bos>|<(?:start|end)_of_turn>"
    r"|</?seed:\w+>|</?TOOLCALL>|<SPECIAL_\d+>|<(?:beginning|end)_of_sentence>"
)
_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|return|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
)
_PARTS = "\n+|[\U00010000-\U0010ffff]|[^\n\U00010000-\U0010ffff]+"
_PARTS_OF_FIRST = f"\\A\n*[^\n\U00010000-\U0010ffff]+|{_PARTS}"
_ENDINGS = {'"', '"}', "}", "}}", "]", '":', '",'}
_WHITE_SPACE = set(" \n\t\r▁")


def scripted_model(
    scripts: Mapping[str, str] | str,
    template: str,
    vocabulary: Form = "byte-level",
    *,
    specials: Collection[str] | None = None,
    hidden: Collection[str] | None = None,
    ends: Collection[str] = (),
    seed: int = 0,
) -> Path:
    """The IR folder of a model that writes `scripts`, by key, to prompts of the chat template `template`.

    `specials` are the texts that are one token each; None for those that look like markup in the template or
    the scripts. `hidden` are those of them that answers leave out; None for those like <|…|> and [ABC]. A
    script that does not end with one of `ends` gets the first; by default that is what ends texts in most
    models and is in the template, or </s>. `seed` decides how texts are cut.
    """
    by_key = {"": scripts} if isinstance(scripts, str) else dict(scripts)
    ends = tuple(ends) or tuple(end for end in _ENDS if end in template)[:1] or ("</s>",)
    if specials is None:
        text = " ".join([template, *by_key.values()])
        specials = _SHOWN.findall(text) + _HIDDEN.findall(text)
    if hidden is None:
        hidden = [text for text in specials if _HIDDEN.fullmatch(text)]
    plan = _Plan(
        scripts=list(by_key.items()),
        template=template,
        specials=sorted({*specials, *ends}),
        hidden=sorted({*hidden, *ends}),
        ends=list(ends),
        vocabulary=vocabulary,
        seed=seed,
    )
    name = hashlib.sha256(json.dumps(plan).encode()).hexdigest()[:16]
    folder = f"scripted-{_RECIPE}-{metadata.version('openvino-genai')}/{name}"
    return cached(folder, lambda path: _write(path, plan))


class _Plan(NamedTuple):
    scripts: list[tuple[str, str]]
    template: str
    specials: list[str]
    hidden: list[str]
    ends: list[str]
    vocabulary: Form
    seed: int


def _write(folder: Path, plan: _Plan) -> None:
    tokens = Tokens(plan.vocabulary)
    for text in plan.specials:
        tokens.add_special(text, text in plan.hidden)
    for key, _ in plan.scripts:
        if key and key.encode() not in tokens.ids:
            tokens.add_special(key, hidden=False)
    writer = _Writer(tokens, plan)
    for key, text in plan.scripts:
        writer.add(key, text)
    save(folder, tokens, writer.rules(), plan.template, plan.ends)


def save(folder: Path, tokens: Tokens, rules: Rules, template: str, ends: Sequence[str]) -> None:
    """Write the files of an IR folder. `ends` are the texts of the tokens that end an answer."""
    import openvino

    end_ids = [tokens.ids[text.encode()] for text in ends]
    bos = {"bos_token": BOS} if tokens.form == "sentencepiece" else {}
    documents = {
        "config": _config(rules) | {"eos_token_id": end_ids},
        "generation_config": {"eos_token_id": end_ids},
        "tokenizer_config": {"eos_token": ends[0]} | bos,
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    tokenizer, detokenizer = tokens.models()
    for graph in (tokenizer, detokenizer):
        graph.set_rt_info(end_ids[0], "eos_token_id")
    for name, graph in (("model", build(rules)), ("tokenizer", tokenizer), ("detokenizer", detokenizer)):
        openvino.save_model(graph, folder / f"openvino_{name}.xml", compress_to_fp16=False)


def _config(rules: Rules) -> dict[str, object]:
    size = head_dim(rules)
    return {
        "model_type": "scripted",
        "max_position_embeddings": _CONTEXT,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "hidden_size": size,
        "head_dim": size,
        "vocab_size": len(rules.features),
    }


class _Writer:
    """Turns scripts into rules.

    A token that is made for one place has one rule. The others, such as markup, have a rule per place, which
    holds once the last token made for a place before it has been written.
    """

    def __init__(self, tokens: Tokens, plan: _Plan) -> None:
        self._tokens = tokens
        longest_first = sorted(plan.specials, key=len, reverse=True)
        self._specials = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self._ends = plan.ends
        self._chance = random.Random(plan.seed)
        self._places: dict[int, int] = {}  # tokens that are made for one place → what follows
        self._features: dict[int, int] = {}
        self._scripts: list[tuple[Rule, dict[int, dict[int, int]]]] = []  # token → feature → what follows

    def add(self, key: str, text: str) -> None:
        ids = self._told_apart(self._cut(text))
        if not text.endswith(tuple(self._ends)):
            ids.append(self._tokens.ids[self._ends[0].encode()])
        feature = self._feature(self._tokens.ids[key.encode()]) if key else 0
        start, others = Rule(feature, ids[0]), dict[int, dict[int, int]]()
        mark = None
        for number, following in pairwise(ids):
            if number in self._places:
                self._places[number] = following
                mark = number
            else:
                feature = feature if mark is None else self._feature(mark)
                others.setdefault(number, {})[feature] = following
        self._scripts.append((start, others))

    def rules(self) -> Rules:
        pieces = self._tokens.pieces
        by_token = {number: [Rule(0, following)] for number, following in self._places.items()}
        for number in {number for _, others in self._scripts for number in others}:
            by_token[number] = [
                rule
                for start, others in self._scripts
                for rule in (start, *(Rule(*entry) for entry in others.get(number, {}).items()))
            ]
        return Rules(
            [self._features.get(number, 0) for number in range(len(pieces))],
            [start for start, _ in self._scripts],
            by_token,
            [self._liking(number) for number in range(len(pieces))],
        )

    def _told_apart(self, ids: list[int]) -> list[int]:
        """The same, where a token that comes twice after the same mark has a twin of the same text.

        So has one that prompts may end with, before the first mark.
        """
        seen = set(range(len(self._tokens.pieces))) - self._tokens.special.keys()
        told = []
        for number in ids:
            if number in self._places:
                seen.clear()
            elif number in seen:
                number = self._tokens.add_twin(number)
                self._places[number] = -1
                seen.clear()
            seen.add(number)
            told.append(number)
        return told

    def _feature(self, number: int) -> int:
        return self._features.setdefault(number, 2 + len(self._features))

    def _cut(self, text: str) -> list[int]:
        ids: list[int] = []
        for place, part in enumerate(self._specials.split(text)):
            if place % 2:
                ids.append(self._tokens.ids[part.encode()])
            else:
                ids += self._cut_plain(part, is_first=not self._places.keys() & ids)
        return ids

    def _cut_plain(self, text: str, is_first: bool) -> list[int]:
        if self._tokens.form == "byte-level":
            return self._cut_units(self._tokens.spell(text))
        ids: list[int] = []
        # SentencePiece writes rare characters in bytes, and a newline too, but several are often one token.
        # What a text begins with is always a token of its own, since prompts end with newlines.
        for part in re.findall(_PARTS_OF_FIRST if is_first else _PARTS, text):
            if part == "\n" or ord(part[0]) >= _EMOJI:
                ids += self._tokens.in_bytes(part.encode())
            else:
                ids += self._cut_units(self._tokens.spell(part))
        return ids

    def _cut_units(self, units: list[bytes]) -> list[int]:
        ids, at = [], 0
        while at < len(units):
            left = len(units) - at
            lengths = self._chance.sample(range(2, _LONGEST + 1), _LONGEST - 1)
            lengths += range(_LONGEST + 1, left + 1)
            free = (
                b"".join(units[at : at + length])
                for length in lengths
                if length <= left and left - length != 1
            )
            piece = next((piece for piece in free if piece not in self._tokens.ids), None)
            if piece is not None:
                ids.append(self._tokens.add_script(piece))
                self._places[ids[-1]] = -1  # not known yet
            else:  # no new token can begin here
                piece = units[at]
                ids += (
                    [self._tokens.ids[piece]] if piece in self._tokens.ids else self._tokens.in_bytes(piece)
                )
            at += (
                len(self._tokens.spell(piece.decode()))
                if self._tokens.form == "sentencepiece"
                else len(piece)
            )
        return ids

    def _liking(self, number: int) -> float:
        text = self._tokens.pieces[number].decode(errors="replace")
        if text in _ENDINGS or text in self._ends or text.startswith("</"):
            return 2.0
        return -2.0 if set(text) & _WHITE_SPACE and len(text) < 2 else 0.0
