"""Whisper without PyTorch: the real tiny.en against PyTorch and Hugging Face's tokenizer, and made-up models.

whisper_golden.json holds what transformers 5.5.4 and PyTorch 2.13.0 made of tiny.en in float32, for what
`features` below makes: every 50th frame and 16th number of the encoded frames, every 400th logit after each
token, and the best token after each (numbers: float32, little-endian, base64).
"""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from tokenizers import Tokenizer

from frontend.models.converter import convert
from frontend.models.errors import ModelError
from frontend.models.recognize import Recognized
from frontend.models.resolve import check_ir_folder
from host.convert.__main__ import main
from tests.exact import EXACT
from tests.host.audio.speaking import speak
from tests.host.convert.tiny_whisper import (
    FRAMES,
    LANGUAGES,
    MELS,
    SIDES,
    model_bin,
    tokenizer,
    variables,
    weights,
    write_ct2,
    write_hugging_face,
)
from tests.models.corpus import corpus

GOLDEN = json.loads(Path(__file__).with_name("whisper_golden.json").read_text())
SPOKEN = "The next train to London leaves at half past nine. Please mind the gap."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ir").mkdir()
    return tmp_path / "ir"


def compiled(folder: Path, part: str) -> Any:
    return ov.Core().compile_model(folder / f"openvino_{part}_model.xml", "CPU", EXACT)


def numbers(text: str) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.frombuffer(base64.b64decode(text), "<f4")
    return found


def cosine(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    one, other = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


# --- the real model -----------------------------------------------------------------------------------------


def features() -> np.ndarray[Any, Any]:
    bins, frames = np.meshgrid(np.arange(80), np.arange(3000), indexing="ij")
    waves = np.sin(bins * 0.35 + frames * 0.02) * np.cos(frames * 0.13) * np.exp(-frames / 900) - 0.5
    result: np.ndarray[Any, Any] = waves.astype(np.float32)[None]
    return result


@pytest.fixture(scope="module")
def encoded(whisper_ir: Path) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = compiled(whisper_ir, "encoder")(features())[0]
    return result


def test_encoded_audio_is_that_of_pytorch(encoded: np.ndarray[Any, Any]) -> None:
    assert encoded.shape == (1, 1500, 384)
    assert cosine(encoded[0, ::50, ::16], numbers(GOLDEN["encoded"])) > 0.998


def test_tokens_one_by_one_or_at_once_are_those_of_pytorch(
    whisper_ir: Path, encoded: np.ndarray[Any, Any]
) -> None:
    request = compiled(whisper_ir, "decoder").create_infer_request()

    def decode(tokens: list[int]) -> np.ndarray[Any, Any]:
        inputs = {"input_ids": np.array([tokens]), "encoder_hidden_states": encoded}
        result: np.ndarray[Any, Any] = request.infer(inputs | {"beam_idx": np.zeros(1, np.int32)})["logits"][
            0
        ]
        return result.copy()

    at_once = decode(GOLDEN["tokens"])
    request.reset_state()
    one_by_one = np.concatenate([decode([token]) for token in GOLDEN["tokens"]])
    for logits in (at_once, one_by_one):
        assert cosine(logits[:, ::400], numbers(GOLDEN["logits"])) > 0.999
        same = np.equal(logits.argmax(axis=1), GOLDEN["best"])
        assert same.sum() >= len(same) - 1, "two tokens may be nearly as good as each other"


def test_speech_becomes_text_with_times_of_its_words(whisper_ir: Path) -> None:
    pipeline = genai.WhisperPipeline(whisper_ir, "CPU", word_timestamps=True)
    samples = speak(SPOKEN)
    found = pipeline.generate(samples, return_timestamps=True, word_timestamps=True)
    assert found.texts[0].lower().count("train to london") == 1
    assert found.texts[0].lower().count("mind the gap") == 1
    assert found.chunks[0].text.startswith(" The next")
    assert "".join(word.word for word in found.words) == found.texts[0]
    times = [time for word in found.words for time in (word.start_ts, word.end_ts)]
    assert times == sorted(times)
    assert times[0] < 0.5
    assert 0.8 * len(samples) / 16_000 < times[-1] <= len(samples) / 16_000 + 0.1
    again = pipeline.generate(samples, return_timestamps=True, word_timestamps=True)
    assert again.texts == found.texts, "nothing of a call is left in the states"


def test_tokens_of_texts_are_those_of_hugging_faces_tokenizer(whisper_ir: Path) -> None:
    original = Tokenizer.from_file(str(whisper_ir.parent / "source" / "tokenizer.json"))
    special = [token.content for token in original.get_added_tokens_decoder().values()]
    texts = [text for text in corpus(special, 600) if text and not any(mark in text for mark in special)]
    ours = genai.Tokenizer(whisper_ir)
    expected = [original.encode(text, add_special_tokens=False).ids for text in texts]
    found = [ours.encode(text).input_ids.data[0].tolist() for text in texts]
    wrong = {text: ids for text, ids, right in zip(texts, found, expected, strict=True) if ids != right}
    assert not wrong
    readable = [text for text in texts if "\ufffd" not in text]
    assert [ours.decode(ours.encode(text).input_ids)[0] for text in readable] == readable


def test_marks_in_a_text_stay_text_and_tokens_of_marks_and_times_are_not_shown(whisper_ir: Path) -> None:
    tokenizer = genai.Tokenizer(whisper_ir)
    ids = tokenizer.encode("<|endoftext|> hello").input_ids.data[0].tolist()
    assert max(ids) < 50_256
    assert tokenizer.decode([50_257, 50_363, *ids, 50_413, 50_256]) == "<|endoftext|> hello"
    assert tokenizer.decode([50_413], skip_special_tokens=False) == "<|1.00|>"
    assert tokenizer.get_eos_token_id() == 50_256


def test_the_folder_is_served_as_transcription_and_has_a_model_that_finds_speech(
    whisper_ir: Path,
) -> None:
    assert check_ir_folder(whisper_ir) == Recognized("transcription")
    assert (whisper_ir / "silero_vad.onnx").stat().st_size > 1_000_000
    generation = json.loads((whisper_ir / "generation_config.json").read_text())
    assert generation["is_multilingual"] is False
    assert generation["alignment_heads"][0] == [1, 0]


# --- made-up models -----------------------------------------------------------------------------------------


def test_both_formats_become_the_same_model(tmp_path: Path) -> None:
    made = []
    for name, source in (
        ("a", write_ct2(tmp_path / "ct2")),
        ("b", write_hugging_face(tmp_path / "hf", lang_to_id={})),
    ):
        (tmp_path / name).mkdir()
        convert(source, tmp_path / name)
        assert check_ir_folder(tmp_path / name) == Recognized("transcription")
        made.append({file.name: file.read_bytes() for file in (tmp_path / name).glob("*.[bj]*")})
    assert made[0] == made[1]
    assert {f"openvino_{side}_model.bin" for side in SIDES} < made[0].keys()


def test_a_model_of_several_languages_says_so(tmp_path: Path, folder: Path) -> None:
    convert(write_hugging_face(tmp_path / "hf"), folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["is_multilingual"] is True
    assert generation["lang_to_id"] == LANGUAGES
    assert generation["task_to_id"] == {"transcribe": 34, "translate": 33}
    assert generation["suppress_tokens"] == [1, 2]
    assert generation["alignment_heads"] == [[1, 0], [1, 1]], "the upper half, where the model does not say"


def test_a_batch_is_decoded_in_the_order_of_its_beams(tmp_path: Path, folder: Path) -> None:
    convert(write_hugging_face(tmp_path / "hf"), folder)
    frames = np.random.default_rng(3).normal(size=(2, MELS, 2 * FRAMES)).astype(np.float32)
    encoded = compiled(folder, "encoder")(frames)[0]

    def decoded(steps: list[tuple[list[list[int]], list[int]]], hidden: np.ndarray[Any, Any]) -> Any:
        request = compiled(folder, "decoder").create_infer_request()
        for tokens, beams in steps:
            inputs = {"input_ids": np.array(tokens), "beam_idx": np.array(beams, np.int32)}
            logits = request.infer(inputs | {"encoder_hidden_states": hidden})["logits"].copy()
        return logits

    same = np.concatenate([encoded[:1], encoded[:1]])
    swapped = decoded([([[3, 4], [5, 6]], [0, 1]), ([[7], [7]], [1, 0])], same)
    alone = [decoded([([first], [0]), ([[7]], [0])], encoded[:1]) for first in ([5, 6], [3, 4])]
    assert np.allclose(swapped, np.concatenate(alone), atol=1e-4)
    assert not np.allclose(swapped[0], swapped[1], atol=1e-2)


def whole() -> bytes:
    return model_bin(variables())


def changed(name: str, values: np.ndarray[Any, Any] | None) -> bytes:
    """A model.bin in which a variable is another one, or none."""
    others = {key: value for key, value in variables().items() if key != name}
    return model_bin(others if values is None else others | {name: values})


def edited(name: str, offset: int, content: bytes) -> bytes:
    """A model.bin with other bytes at an offset from the end of a variable's name."""
    data = whole()
    at = data.index(f"{name}\0".encode()) + len(name) + 1 + offset
    return data[:at] + content + data[at + len(content) :]


TABLE = "decoder/embeddings/weight"
Q = "encoder/layer_0/self_attention/linear_0/weight"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"", "model.bin is not a CTranslate2 model: it is empty; download it again"),
        (lambda: bytes(500), "not a CTranslate2 model: it begins with zeros"),
        (lambda: b"<!doctype html>", "not a CTranslate2 model but a web page; download the file itself"),
        (lambda: struct.pack("<I", 2) + whole()[4:], "version 2 of CTranslate2's format is not supported"),
        (lambda: whole()[:20], "model.bin is incomplete: it has 20 of at least 22 bytes; download it again"),
        (lambda: whole()[:-2000], "model.bin is incomplete: it has "),
        (lambda: whole()[:22] + b"\xff" * 4 + whole()[26:], "damaged: a count of 4294967295 variables"),
        (lambda: whole()[:26] + b"\xff" * 2 + whole()[28:], "damaged: a name of 65535 bytes"),
        (lambda: edited(TABLE, 0, b"\xc8"), "damaged: decoder/embeddings/weight has 200 dimensions"),
        (lambda: edited(TABLE, 1, b"\xff" * 8), "do not fit its shape [4294967295, 4294967295]"),
        (lambda: edited(TABLE, 9, b"\x09"), "decoder/embeddings/weight has a type (9) that is not supported"),
        (lambda: model_bin(variables(), "TransformerSpec"), "of the kind 'TransformerSpec'; only Whisper is"),
        (
            lambda: changed(TABLE, None),
            "the variable decoder/embeddings/weight is missing; download it again",
        ),
        (lambda: changed(Q, None), f"the variable {Q} is missing"),
        (lambda: changed(Q, np.zeros((48, 15), np.float16)), "has the shape [48, 15], not [48, 16]"),
        (lambda: changed(Q, np.zeros((48, 16), np.int8)), "weights of the type int8 are not supported"),
        (lambda: changed(Q, np.full((48, 16), np.nan, np.float16)), "a weight is infinite or no number"),
        (lambda: changed("encoder/num_heads", np.array(0, np.int16)), "damaged: Expected `int` >= 1"),
        (
            lambda: changed("encoder/num_heads", np.array(3, np.int16)),
            "d_model is not a multiple of encoder_attention",
        ),
        (lambda: changed("encoder/num_heads", np.zeros(2, np.int16)), "encoder/num_heads is no whole number"),
        (
            lambda: whole().replace(b"encoder/conv2/bias", b"encoder/conv1/bias"),
            "there are two variables encoder/conv1/bias",
        ),
    ],
)
def test_a_damaged_model_bin_is_one_line_that_says_what_is_wrong(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str], content: Any, reason: str
) -> None:
    source = write_ct2(tmp_path / "whisper", content())
    assert main([str(source), str(folder)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("cannot convert whisper: ")
    assert reason in line


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", b"[1]", "config.json: Expected `object`, got `array`"),
        ("config.json", b'{"suppress_ids": [1000]}', "suppress_tokens: the model has no token 1000"),
        (
            "config.json",
            b'{"alignment_heads": [[9, 0]]}',
            "alignment_heads: the model has no head 0 in layer 9",
        ),
        ("config.json", b'{"lang_ids": [3]}', "tokenizer.json: no special token has the id 3"),
        ("tokenizer.json", b"{", "tokenizer.json: Input data was truncated"),
        ("tokenizer.json", b"", "tokenizer.json: Input data was truncated"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        (
            "tokenizer.json",
            json.dumps(tokenizer()).replace("h e", "h z").encode(),
            "merges[0] joins or makes what is no token",
        ),
        (
            "tokenizer.json",
            json.dumps(tokenizer()).replace("<|notimestamps|>", "<|x|>").encode(),
            "the token <|notimestamps|> is missing",
        ),
        (
            "tokenizer.json",
            json.dumps(tokenizer()).replace('"z": 26, ', "").encode(),
            "some of the model's tokens are missing",
        ),
    ],
)
def test_a_wrong_file_beside_it_is_named(
    tmp_path: Path,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    reason: str,
) -> None:
    source = write_ct2(tmp_path / "whisper")
    if content is None:
        (source / name).unlink()
    else:
        (source / name).write_bytes(content)
    assert main([str(source), str(folder)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert reason in line


def test_no_damage_is_more_than_an_error(tmp_path: Path) -> None:
    """Cut anywhere and with any byte changed, a file is converted or refused in one line."""
    random, data = np.random.default_rng(5), whole()
    for number in range(40):
        at = int(random.integers(len(data)))
        bad = data[:at] if number % 2 else data[:at] + bytes([int(random.integers(256))]) + data[at + 1 :]
        (tmp_path / f"ir{number}").mkdir()
        source = write_ct2(tmp_path / f"source{number}", bad)
        assert main([str(source), str(tmp_path / f"ir{number}")]) in (0, 1)


def test_a_hugging_face_folder_without_a_tensor_is_refused(tmp_path: Path, folder: Path) -> None:
    tensors = weights()
    del tensors["model.decoder.layers.1.encoder_attn.v_proj.bias"]
    with pytest.raises(
        ModelError, match=r"the tensor model\.decoder\.layers\.1\.encoder_attn\.v_proj\.bias is"
    ):
        convert(write_hugging_face(tmp_path / "hf", tensors), folder)
