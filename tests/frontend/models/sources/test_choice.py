"""Which files of a repository make a model."""

import pytest

from frontend.models.errors import ModelError
from frontend.models.sources.choice import Wish, choose, quantization_of

NOTHING = Wish()


def ggufs(*quantizations):
    return {f"m-{each}.gguf": 100 + at for at, each in enumerate(quantizations)}


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("m.Q4_1.gguf", "Q4_1"),
        ("UD/m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("m-IQ3_XXS.gguf", "IQ3_XXS"),
        ("m-BF16.gguf", "BF16"),
        ("m-MXFP4.gguf", "MXFP4"),
        ("m-7b.gguf", ""),
    ],
)
def test_a_quantization_is_the_end_of_a_name(name, quantization):
    assert quantization_of(name) == quantization


@pytest.mark.parametrize(
    ("files", "main"),
    [
        (ggufs("Q8_0", "Q4_K_M", "Q2_K"), "m-Q4_K_M.gguf"),
        (ggufs("Q2_K", "Q5_K_M", "Q4_0", "Q8_0"), "m-Q5_K_M.gguf"),  # the smallest of at least 4 bits
        (ggufs("Q2_K", "Q3_K_S"), "m-Q2_K.gguf"),
        ({"model.gguf": 5}, "model.gguf"),
        ({"mmproj-F16.gguf": 1, "m-F16.gguf": 9}, "m-F16.gguf"),
        ({"m-Q4_K_M-00001-of-00002.gguf": 1, "m-Q8_0.gguf": 9}, "m-Q8_0.gguf"),
    ],
)
def test_the_default_gguf_is_q4_k_m_or_the_smallest_with_4_bits(files, main):
    assert choose(files, {}, NOTHING, "it").main == main


def test_only_parts_of_a_gguf_cannot_be_served():
    with pytest.raises(ModelError, match="it has only GGUF files in several parts"):
        choose({"m-Q4_K_M-00001-of-00002.gguf": 1}, {}, NOTHING, "it")


def test_a_pattern_chooses_among_ggufs_and_papers_remain():
    choice = choose({**ggufs("Q4_K_M", "Q8_0"), "LICENSE": 1}, {}, Wish(pattern="*Q8*"), "it")
    assert choice.files == ["m-Q8_0.gguf", "LICENSE"]


def test_safetensors_beside_ggufs_are_exported_unless_a_quantization_is_named():
    files = {**ggufs("Q4_K_M"), "model.safetensors": 5, "config.json": 1}
    config = {"model_type": "llama"}
    assert choose(files, config, NOTHING, "it").kind == "export"
    assert choose(files, config, Wish("Q4_K_M"), "it").kind == "gguf"


def test_an_encoder_is_exported_if_a_weight_format_is_asked_for():
    files = {"model.safetensors": 5, "config.json": 1, "tokenizer.json": 1}
    config = {"model_type": "bert"}
    assert choose(files, config, NOTHING, "it").kind == "encoder"
    assert choose(files, config, Wish(weight_format="int8"), "it").kind == "export"


def test_code_and_files_outside_of_the_folder_are_never_chosen():
    files = {"model.safetensors": 5, "config.json": 1, "modeling.py": 1, "../x.json": 1, ".env.json": 1}
    assert choose(files, {"model_type": "llama"}, NOTHING, "it").files == [
        "model.safetensors",
        "config.json",
    ]


def test_old_weights_are_chosen_only_without_safetensors():
    files = {"pytorch_model.bin": 5, "config.json": 1}
    assert "pytorch_model.bin" in choose(files, {"model_type": "llama"}, NOTHING, "it").files
    both = choose({**files, "model.safetensors": 5}, {"model_type": "llama"}, NOTHING, "it")
    assert "pytorch_model.bin" not in both.files
