"""Which files a vision model needs, and how the folder of one is served."""

import shutil
from pathlib import Path

import pytest

from frontend.models.errors import ModelError
from frontend.models.resolve import check_ir_folder
from tests.frontend.models.test_resolve import model, preparer
from tests.host.harness import copy_of


def test_the_stand_in_is_recognized_and_served_by_the_vision_engine(vision_ir: Path, reporter, tmp_path):
    assert check_ir_folder(vision_ir).task == "vision"
    prepared = preparer(tmp_path, reporter).prepare(model(vision_ir))
    assert prepared.engine == "vision"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("openvino_text_embeddings_model.bin", "lacks openvino_text_embeddings_model.bin"),
        ("config.json", "lacks config.json"),
        ("preprocessor_config.json", "lacks preprocessor_config.json"),
    ],
)
def test_a_missing_file_is_named(vision_ir: Path, tmp_path, file, reason):
    folder = copy_of(vision_ir, tmp_path / "model")
    (folder / file).unlink()
    with pytest.raises(ModelError, match=reason):
        check_ir_folder(folder)


def test_a_part_of_the_architectures_own_needs_its_weights_too(vision_ir: Path, tmp_path):
    folder = copy_of(vision_ir, tmp_path / "model")
    shutil.copy(vision_ir / "openvino_vision_embeddings_model.xml", folder / "openvino_resampler_model.xml")
    with pytest.raises(ModelError, match=r"lacks openvino_resampler_model\.bin"):
        check_ir_folder(folder)


def test_a_language_part_that_takes_tokens_is_refused(vision_ir: Path, smollm2_ir: Path, tmp_path):
    folder = copy_of(vision_ir, tmp_path / "model")
    for suffix in ("xml", "bin"):
        (folder / f"openvino_language_model.{suffix}").unlink()
        (folder / f"openvino_language_model.{suffix}").symlink_to(smollm2_ir / f"openvino_model.{suffix}")
    with pytest.raises(ModelError, match="is not a language model: it takes no embeddings"):
        check_ir_folder(folder)
