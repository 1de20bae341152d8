"""What is exported by optimum-intel: as which task, and for real on demand."""

from pathlib import Path

import pytest

from frontend.models.errors import ModelError
from frontend.models.folder import FolderFacts
from frontend.models.puller import Puller
from frontend.models.reporter import Silent
from frontend.models.resolve import Preparer
from frontend.models.sources.asked import PullOptions
from frontend.models.sources.export import export_task
from frontend.models.store import Store


def facts(**config):
    return FolderFacts("org/m", frozenset(["config.json"]), {"config.json": config})


TEXT = "text-generation-with-past"


@pytest.mark.parametrize(
    ("architecture", "config", "task"),
    [
        ("LlamaForCausalLM", {}, TEXT),
        ("XLMRobertaModel", {}, "feature-extraction"),
        ("BertForSequenceClassification", {}, "text-classification"),
        ("Qwen3ForCausalLM", {"_name_or_path": "Qwen3-Reranker"}, TEXT),
        (
            "WhisperForConditionalGeneration",
            {"model_type": "whisper"},
            "automatic-speech-recognition-with-past",
        ),
        ("Qwen2VLForConditionalGeneration", {"vision_config": {}}, "image-text-to-text"),
    ],
)
def test_a_model_is_exported_for_the_task_that_it_has_here(architecture, config, task):
    assert export_task(facts(architectures=[architecture], **config)) == task


@pytest.mark.parametrize("architecture", ["T5ForConditionalGeneration", "SpeechT5ForTextToSpeech"])
def test_what_has_no_task_here_is_not_exported(architecture):
    with pytest.raises(ModelError, match="org/m holds a model of the architecture"):
        export_task(facts(architectures=[architecture]))


@pytest.mark.optimum
def test_a_real_encoder_is_exported_with_weights_in_int8(minilm_ir: Path, tmp_path: Path):
    store = Store(tmp_path / "store", Silent())
    puller = Puller(store, Preparer(store, Silent(), {}), Silent(), {})
    source = str(minilm_ir.parent / "source")
    pulled = puller.pull(source, PullOptions(name="mine", weight_format="int8"))
    (one,) = store.installed()
    assert (one.name, one.task, one.manifest.precision) == ("mine", "embeddings", "int8")
    assert (Path(pulled.path) / "1_Pooling" / "config.json").is_file()
    assert one.bytes < 30_000_000
    assert puller.pull(source, PullOptions(name="mine", weight_format="int8")) == pulled
