"""A model in the place of one that guesses how unknown English words are read: it spells them.

GenAI's pipeline drops words that its dictionaries lack, unless it has espeak-ng or a model that maps letters
to phonemes. This one does so by a table of the letters' names. It has the two parts and the files of such a
model: an encoder, which passes letters on, and a decoder, which yields the next phoneme.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as ops

from host.model_folder import ModelFolderError, read_any_json

_PAD, _START, _END, _UNKNOWN = range(4)  # token ids that mean no character
_SPECIAL = "\x00\x01\x02\x03"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = {"0": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six"}
_DIGITS |= {"7": "seven", "8": "eight", "9": "nine"}
_MAX_PHONEMES = 480  # of a word


def write_speller(lexicon: Path, folder: Path) -> None:
    """Write the model with the letters' names in a dictionary. Raises ModelFolderError."""
    names = _names(lexicon)
    phonemes = "".join(sorted({phoneme for name in names.values() for phoneme in name}))
    table = np.zeros((len(_SPECIAL) + len(names), max(map(len, names.values())) + 1), np.int64)
    for row, name in enumerate(names.values(), len(_SPECIAL)):
        spaced = f"{name} "
        table[row, : len(spaced)] = [len(_SPECIAL) + phonemes.index(phoneme) for phoneme in spaced]
    folder.mkdir(parents=True)
    ov.save_model(_encoder(), folder / "openvino_encoder_model.xml", compress_to_fp16=False)
    ov.save_model(
        _decoder(table, len(_SPECIAL) + len(phonemes)),
        folder / "openvino_decoder_model.xml",
        compress_to_fp16=False,
    )
    config = {
        "bos_token_id": _START,
        "decoder_start_token_id": _START,
        "eos_token_id": _END,
        "unk_token_id": _UNKNOWN,
        "max_position_embeddings": _MAX_PHONEMES,
        "grapheme_chars": _SPECIAL + "".join(names),
        "phoneme_chars": _SPECIAL + phonemes,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _names(lexicon: Path) -> dict[str, str]:
    """How each letter and digit is read, and a space, which table rows end with."""
    words: Any = read_any_json(lexicon)
    wanted = {letter: letter.upper() for letter in _LETTERS} | {letter: letter for letter in _LETTERS.upper()}
    names = {}
    for character, word in (wanted | _DIGITS).items():
        entry = words.get(word) if isinstance(words, dict) else None
        name = entry.get("DEFAULT") if isinstance(entry, dict) else entry
        if not isinstance(name, str):
            raise ModelFolderError(f"{lexicon} has no entry for {word!r}")
        names[character] = name
    names["-"] = " "
    return names


def _encoder() -> ov.Model:
    """The letters as they are: input_ids i64 [1, T] → f32 [1, T, 1]."""
    ids, mask = (ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask"))
    hidden = ops.unsqueeze(ops.convert(ids, "f32"), np.int64(2))
    return _model([hidden], [ids, mask], "last_hidden_state")


def _decoder(table: np.ndarray[Any, np.dtype[np.int64]], vocabulary: int) -> ov.Model:
    """The phoneme that follows as many as there are already: logits f32 [1, S, vocabulary]."""
    ids, mask = (
        ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "encoder_attention_mask")
    )
    hidden = ops.parameter([-1, -1, 1], np.float32, name="encoder_hidden_states")
    letters = ops.reshape(ops.convert(hidden, "i64"), np.array([-1]), special_zero=False)
    sounds = ops.reshape(ops.gather(table, letters, np.int64(0)), np.array([-1]), special_zero=False)
    present = ops.reshape(ops.non_zero(sounds, "i64"), np.array([-1]), special_zero=False)
    ended = ops.concat([ops.gather(sounds, present, np.int64(0)), np.full(_MAX_PHONEMES, _END, np.int64)], 0)
    done = ops.subtract(ops.gather(ops.shape_of(ids), np.int64(1), np.int64(0)), np.int64(1))
    following = ops.gather(ended, done, np.int64(0))
    logits = ops.one_hot(following, np.int64(vocabulary), np.float32(1), np.float32(0), 0)
    steps = ops.shape_of(ids)
    shape = ops.concat([steps, np.array([vocabulary], np.int64)], 0)
    return _model([ops.broadcast(logits, shape)], [ids, mask, hidden], "logits")


def _model(results: list[Any], parameters: list[Any], name: str) -> ov.Model:
    for parameter in parameters:
        parameter.output(0).set_names({parameter.get_friendly_name()})
    results[0].output(0).set_names({name})
    return ov.Model([ops.result(result) for result in results], parameters, name)
