"""What a model's files say of its inputs and embeddings."""

import json
from pathlib import Path
from typing import Any

import pytest

from host.errors import LaunchError
from host.model_folder import ModelFolderError
from host.vectors.folder import SentenceSettings, VectorFolder, read_sentence_settings, read_vector_folder
from ipc.messages import VectorOptions
from ipc.messages.vectors import Pooling

BERT = {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512, "pad_token_id": 0}
ROBERTA = BERT | {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}
MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "pool", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def folder(path: Path, **files: Any) -> Path:
    """Files by their names without .json; __ stands for a slash."""
    for name, content in files.items():
        file = path / f"{name.replace('__', '/')}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def facts(path: Path, **options: Any) -> VectorFolder:
    return read_vector_folder(path, VectorOptions(**options))


def settings(path: Path, **options: Any) -> SentenceSettings:
    return read_sentence_settings(facts(path), VectorOptions(**options))


@pytest.mark.parametrize(
    ("files", "window"),
    [
        ({"config": BERT}, 512),
        ({"config": BERT, "sentence_bert_config": {"max_seq_length": 256}}, 256),
        ({"config": BERT, "sentence_bert_config": {"max_seq_length": 1024}}, 512),
        ({"config": BERT, "sentence_bert_config": {"max_seq_length": None}}, 512),
        ({"config": BERT, "tokenizer_config": {"model_max_length": 128}}, 128),
        ({"config": BERT, "tokenizer_config": {"model_max_length": 10**30}}, 512),
        ({"config": ROBERTA}, 512),
        ({"config": {"vocab_size": 5}}, 512),
        ({"config": {"vocab_size": 5}, "tokenizer_config": {"model_max_length": 10**30}}, 1 << 20),
    ],
)
def test_the_window_is_the_models_own(tmp_path: Path, files: dict[str, Any], window: int) -> None:
    assert facts(folder(tmp_path, **files)).window == window


def test_an_option_widens_the_window_up_to_the_models_positions(tmp_path: Path) -> None:
    path = folder(tmp_path, config=BERT, sentence_bert_config={"max_seq_length": 128})
    assert facts(path, context_length=512).window == 512
    with pytest.raises(LaunchError, match="a context of 513 tokens exceeds the model's 512 positions"):
        facts(path, context_length=513)


def test_a_roberta_doubles_its_separator(tmp_path: Path) -> None:
    path = folder(tmp_path, config=ROBERTA, tokenizer_config={"cls_token": {"content": "<s>"}})
    assert facts(path).doubled_separator
    assert not facts(folder(tmp_path, tokenizer_config={"cls_token": "[CLS]"})).doubled_separator


def test_a_model_with_one_token_type_does_not_tell_segments_apart(tmp_path: Path) -> None:
    assert facts(folder(tmp_path, config=BERT | {"type_vocab_size": 2})).segments
    assert not facts(folder(tmp_path, config=BERT | {"type_vocab_size": 1})).segments
    assert not facts(folder(tmp_path, config=BERT)).segments


def test_a_folder_that_is_none_or_does_not_say_how_large_its_vocabulary_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="is not a folder"):
        facts(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match="does not give the model's vocab_size"):
        facts(folder(tmp_path, config={}))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last_token"),
        ({"pooling_mode": "lasttoken"}, "last_token"),
    ],
)
def test_pooling_and_normalization_are_those_of_sentence_transformers(
    tmp_path: Path, pooling: dict[str, Any], expected: str
) -> None:
    found = settings(folder(tmp_path, config=BERT, modules=MODULES, pool__config=pooling))
    assert (found.pooling, found.normalize, found.complete) == (expected, True, True)


def test_without_a_normalize_module_vectors_keep_their_length(tmp_path: Path) -> None:
    found = settings(folder(tmp_path, config=BERT, modules=MODULES[:2]))
    assert (found.pooling, found.normalize) == ("mean", False)


@pytest.mark.parametrize(("model_type", "pooling"), [("bert", "mean"), ("qwen3", "last_token")])
def test_without_any_such_file_the_usual_is_done(tmp_path: Path, model_type: str, pooling: Pooling) -> None:
    found = settings(folder(tmp_path, config=BERT | {"model_type": model_type}))
    assert found == SentenceSettings(pooling, True, True, {}, "")


def test_options_win_over_files(tmp_path: Path) -> None:
    path = folder(tmp_path, config=BERT, modules=MODULES, pool__config={"pooling_mode_mean_tokens": True})
    found = settings(path, pooling="cls", normalize=False)
    assert (found.pooling, found.normalize) == ("cls", False)


def test_prompts_are_read_with_the_name_of_the_default_one(tmp_path: Path) -> None:
    stated = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}
    found = settings(folder(tmp_path, config=BERT, config_sentence_transformers=stated))
    assert (found.prompts, found.default_prompt) == (stated["prompts"], "passage")
    nothing = {"prompts": None, "default_prompt_name": None}
    found = settings(folder(tmp_path, config=BERT, config_sentence_transformers=nothing))
    assert (found.prompts, found.default_prompt) == ({}, "")


def test_further_modules_must_be_in_the_graph(tmp_path: Path) -> None:
    dense = {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    assert not settings(folder(tmp_path, config=BERT, modules=[*MODULES, dense])).complete


@pytest.mark.parametrize(
    ("pooling", "error"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens pooling, which is not supported"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "pooling_mode_mean_tokens and pooling_mode_cls_token pooling",
        ),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "leaves prompts out"),
        ("[", "is not valid JSON"),
    ],
)
def test_what_is_not_supported_or_broken_is_an_error(tmp_path: Path, pooling: Any, error: str) -> None:
    path = folder(tmp_path, config=BERT, modules=MODULES, pool__config=pooling)
    with pytest.raises(ModelFolderError, match=error):
        settings(path)


def test_a_broken_list_of_modules_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="is not a list of modules"):
        settings(folder(tmp_path, config=BERT, modules={"0": "Transformer"}))
