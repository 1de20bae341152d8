"""What a folder's files say it is."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from frontend.models.errors import ModelError
from frontend.models.folder import FolderFacts, look_at
from frontend.models.recognize import Recognized, check_servable, recognize

IR = {"openvino_model.xml", "openvino_model.bin"}
TOKENIZER = {"openvino_tokenizer.xml", "openvino_tokenizer.bin"}
DETOKENIZER = {"openvino_detokenizer.xml", "openvino_detokenizer.bin"}
WHISPER = {"openvino_encoder_model.xml", "openvino_encoder_model.bin", "generation_config.json"}
WHISPER |= {"openvino_decoder_model.xml", "openvino_decoder_model.bin", "preprocessor_config.json"}
SENTENCE = {
    "modules.json": [
        {"idx": 0, "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "type": "sentence_transformers.models.Pooling"},
    ]
}


def facts(
    architecture: str | None = None, files: set[str] = IR, name: str = "m", **documents: Any
) -> FolderFacts:
    """`documents` are JSON files without their suffix; those of config.json are added to its architecture."""
    config = {"architectures": [architecture]} if architecture else {}
    found = {"config.json": config | documents.pop("config", {})}
    found |= {f"{stem}.json": content for stem, content in documents.items()}
    return FolderFacts(f"/models/{name}", frozenset(files | found.keys()), found)


@pytest.mark.parametrize(
    ("folder", "task"),
    [
        (facts(), "text"),
        (facts("Qwen3ForCausalLM"), "text"),
        (facts("GPT2LMHeadModel"), "text"),
        (facts("ChatGLMModel", config={"model_type": "chatglm"}), "text"),
        (facts("Gemma3ForConditionalGeneration", config={"vision_config": {}}), "text"),
        (facts("BertModel"), "embeddings"),
        (facts("XLMRobertaModel"), "embeddings"),
        (facts("BertForMaskedLM"), "embeddings"),
        (facts("Qwen3ForCausalLM", modules=SENTENCE["modules.json"]), "embeddings"),
        (facts("Qwen3ForCausalLM", name="Qwen3-Embedding-0.6B"), "embeddings"),
        (facts("Qwen3ForCausalLM", config={"_name_or_path": "Qwen/Qwen3-Embedding-0.6B"}), "embeddings"),
        (facts("BertForSequenceClassification"), "rerank"),
        (facts("XLMRobertaForSequenceClassification", modules=SENTENCE["modules.json"]), "rerank"),
        (facts("Qwen3ForSequenceClassification"), "rerank"),
        (facts("Qwen3ForCausalLM", name="Qwen3-Reranker-0.6B"), "rerank"),
        (facts("Qwen3ForCausalLM", config={"_name_or_path": "Qwen/Qwen3-Reranker-0.6B"}), "rerank"),
        (facts(name="0a1b", manifest={"recipe": {"name": "Qwen3-Reranker-0.6B-Q8_0"}}), "rerank"),
        (facts("BertModel", name="reranker-base"), "embeddings"),
        (facts("Qwen3ForCausalLM", config_sentence_transformers={"model_type": "CrossEncoder"}), "rerank"),
        (
            facts(
                "Qwen3ForCausalLM",
                modules=[{"type": "sentence_transformers.cross_encoder.modules.LogitScore"}],
            ),
            "rerank",
        ),
        (
            facts(
                "WhisperForConditionalGeneration",
                {"openvino_encoder_model.xml"},
                config={"model_type": "whisper"},
            ),
            "transcription",
        ),
        (facts("LlavaForConditionalGeneration", {"openvino_language_model.xml"}), "vision"),
        (facts("CLIPModel", config={"vision_config": {}}), "vision"),
        (facts("SpeechT5ForTextToSpeech", {"openvino_vocoder.xml"}), "speech"),
        (facts(config={"model_type": "kokoro"}), "speech"),
    ],
)
def test_the_task_follows_from_files_and_configuration(folder, task):
    assert recognize(folder) == Recognized(task, "genai" if task == "speech" else "openvino")


@pytest.mark.parametrize("task", ["text", "embeddings", "rerank"])
def test_the_setting_wins(task):
    for architecture in (
        "Qwen3ForCausalLM",
        "BertModel",
        "BertForSequenceClassification",
        "ViTForImageClassification",
    ):
        assert recognize(facts(architecture), task).task == task


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        (facts("BertForTokenClassification"), "a model of the architecture BertForTokenClassification"),
        (facts("T5ForConditionalGeneration", {"openvino_encoder_model.xml"}), "T5ForConditionalGeneration"),
        (facts(files={"model_index.json"}), "a Diffusers pipeline"),
    ],
)
def test_what_has_no_task_is_refused_by_name(folder, what):
    with pytest.raises(ModelError, match=rf"^/models/m holds .*{what}, which this server does not serve$"):
        recognize(folder)


@pytest.mark.parametrize("task", ["speech"])
def test_a_task_that_is_not_served_is_refused_by_name(task):
    with pytest.raises(
        ModelError, match=rf"^/models/m holds a {task} model, which this server does not serve$"
    ):
        check_servable(facts(), Recognized(task))


@pytest.mark.parametrize("task", ["text", "vision", "transcription"])
def test_optimum_loads_encoders_only(task):
    refusal = f"is a {task} model: library = optimum is for embeddings and rerank only"
    with pytest.raises(ModelError, match=refusal):
        check_servable(facts(files=IR | {"tokenizer.json"}), Recognized(task, "optimum"))


@pytest.mark.parametrize(
    ("task", "library"), [("text", "optimum"), ("embeddings", "genai"), ("speech", "optimum")]
)
def test_a_library_that_does_not_compute_the_task_is_refused_with_those_that_do(task, library):
    with pytest.raises(
        ModelError, match=rf"is a {task} model: library = {library} is for .* set it to auto or"
    ):
        check_servable(facts(files=IR, config={"model_type": "kokoro"}), Recognized(task, library))


def test_speech_is_served_by_kokoro_only():
    check_servable(facts(files=IR, config={"model_type": "kokoro"}), Recognized("speech", "genai"))
    with pytest.raises(ModelError, match="holds a speech model, which this server does not serve"):
        check_servable(facts(files=IR, config={"model_type": "speecht5"}), Recognized("speech", "genai"))


@pytest.mark.parametrize(
    ("recognized", "files"),
    [
        (Recognized("text"), IR | TOKENIZER | DETOKENIZER),
        (Recognized("embeddings"), IR | TOKENIZER),
        (Recognized("rerank"), IR | TOKENIZER),
        (Recognized("embeddings", "optimum"), IR | {"tokenizer.json"}),
        (Recognized("transcription"), WHISPER | TOKENIZER | DETOKENIZER),
    ],
)
def test_each_task_needs_its_files_and_no_others(recognized, files):
    check_servable(facts(files=files), recognized)
    for missing in files:
        with pytest.raises(ModelError, match=rf"it lacks {missing}$"):
            check_servable(facts(files=files - {missing}), recognized)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architectures": []},
        {"architectures": "x"},
        {"architectures": [3]},
        {"model_type": ["x"]},
        {"_name_or_path": 1},
    ],
)
def test_a_configuration_of_other_types_is_no_crash(config):
    try:
        recognize(facts(config=config))
    except ModelError as error:
        assert "does not serve" in str(error)


@pytest.mark.parametrize(
    ("quantization", "tail", "precision"),
    [
        (None, "", ""),
        ({"quantization_config": {"bits": 4}}, "", "int4"),
        ({"quantization_config": {"bits": 8}}, "", "int8"),
        ({"quantization_config": {}}, "", ""),
        ({"quantization_config": "x"}, "", ""),
        (None, '<weight_compression><group_size value="-1" /><mode value="int8_asym" />', "int8"),
        (None, '<weight_compression>\n\t<mode value="int4_sym" />', "int4"),
        (None, '<mode value="int4_sym" />', ""),
    ],
)
def test_the_precision_is_that_of_the_compression_if_it_is_stated(quantization, tail, precision):
    documents = {"openvino_config": quantization} if quantization else {}
    folder = msgspec.structs.replace(facts(**documents), xml_tail=tail)
    assert recognize(folder).precision == precision


# --- reading ----------------------------------------------------------------------------------------------


def test_a_folder_is_read_with_its_small_json_files_only(tmp_path: Path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text('{"a": 1}')
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "openvino_model.xml").write_text("x" * 100_000 + "end")
    found = look_at(tmp_path)
    assert found.files == {"1_Pooling", "config.json", "modules.json", "openvino_model.xml"}
    assert found.documents.keys() == {"1_Pooling/config.json", "config.json", "modules.json"}
    assert found.document("config.json") == {"architectures": ["BertModel"]}
    assert found.document("modules.json") == {}
    assert found.xml_tail.endswith("xend")
    assert len(found.xml_tail) < 50_000


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'"' + b"x" * 5_000_000 + b'"', b"[" * 100_000])
def test_a_broken_or_huge_json_file_counts_as_absent(tmp_path: Path, content: bytes):
    (tmp_path / "config.json").write_bytes(content)
    assert look_at(tmp_path).documents == {}


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "config.json")
    os.mkfifo(tmp_path / "openvino_model.xml")
    (tmp_path / "modules.json").symlink_to("/dev/zero")
    assert look_at(tmp_path).documents == {}


def test_a_folder_that_cannot_be_read_is_one_clear_line(tmp_path: Path):
    with pytest.raises(ModelError, match=r"^cannot read .*nowhere: No such file or directory$"):
        look_at(tmp_path / "nowhere")
