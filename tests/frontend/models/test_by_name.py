"""Models of users by the names that `nacelle list` shows, and folders that hold GGUF files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from frontend.cli.listing import installed_row
from frontend.config import ModelSettings
from frontend.models.errors import ModelError
from frontend.models.resolve import Preparer, check_ir_folder
from frontend.models.store import Store
from tests.frontend.models.test_resolve import encoder_folder
from tests.frontend.models.tiny import Recorder, convert


@pytest.fixture
def store(tmp_path: Path, reporter: Recorder) -> Store:
    return Store(tmp_path / "store", reporter, convert)


@pytest.fixture
def preparer(store: Store, reporter: Recorder) -> Preparer:
    return Preparer(store, reporter, {})


def served(preparer: Preparer, source: str | Path) -> str:
    return preparer.prepare(ModelSettings(name="m", source=str(source))).path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's encoder, which is converted when it is served."""
    return encoder_folder(tmp_path / "mine")


def test_what_is_listed_as_ready_is_served_by_its_name(preparer, store, reporter, folder):
    path = served(preparer, folder)
    [row] = map(installed_row, store.installed())
    assert (row.name, row.state) == ("mine", "ready")
    shutil.rmtree(folder)
    reporter.steps.clear()
    assert served(preparer, row.name) == path
    assert reporter.steps == []


def test_an_outdated_one_is_converted_again_from_where_it_was(preparer, store, reporter, folder, monkeypatch):
    old = served(preparer, folder)
    monkeypatch.setattr("frontend.models.resolve.converter_versions", lambda: {"openvino": "next"})
    path = served(preparer, "mine")
    assert path != old
    assert served(preparer, "mine") == path
    assert reporter.steps == ["Converting mine for OpenVINO"] * 2


def test_an_outdated_one_whose_files_are_gone_is_explained(preparer, folder, monkeypatch):
    served(preparer, folder)
    shutil.rmtree(folder)
    monkeypatch.setattr("frontend.models.resolve.converter_versions", lambda: {"openvino": "next"})
    with pytest.raises(
        ModelError, match=rf"'mine' must be converted again .* but {folder} is gone; name the file or folder"
    ):
        served(preparer, "mine")


def test_a_damaged_one_is_not_served(preparer, folder):
    Path(served(preparer, folder), "openvino_model.bin").unlink()
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match=rf"'mine' is damaged in the store, but {folder} is gone; name the"):
        served(preparer, "mine")


def test_of_two_conversions_of_one_file_that_is_gone_the_newer_is_served(preparer, reporter, folder):
    served(preparer, folder)
    (folder / "model.safetensors").write_text("changed")
    newer = served(preparer, folder)
    shutil.rmtree(folder)
    assert served(preparer, "mine") == newer
    assert reporter.notes == [f"{folder} is gone: serving the newest of its 2 conversions"]


def test_of_two_conversions_of_one_file_that_is_there_the_right_one_is_served(preparer, reporter, folder):
    older = served(preparer, folder)
    weights = (folder / "model.safetensors").read_text()
    (folder / "model.safetensors").write_text("changed")
    served(preparer, folder)
    (folder / "model.safetensors").write_text(weights)
    assert served(preparer, "mine") == older


def test_two_of_one_name_whose_files_are_gone_are_served_by_the_paths_that_they_had(
    preparer, folder, tmp_path
):
    other = encoder_folder(tmp_path / "elsewhere" / "mine")
    (other / "model.safetensors").write_text("others")
    paths = {path: served(preparer, path) for path in (folder, other)}
    for path in paths:
        shutil.rmtree(path)
    assert {path: served(preparer, path) for path in paths} == paths


def test_two_of_one_name_are_told_apart_by_their_paths(preparer, folder, tmp_path):
    served(preparer, folder)
    other = encoder_folder(tmp_path / "elsewhere" / "mine")
    (other / "model.safetensors").write_text("others")
    served(preparer, other)
    with pytest.raises(
        ModelError, match=rf"2 models named 'mine'; name the file or folder of one: {other}, {folder}"
    ):
        served(preparer, "mine")


def test_a_file_or_folder_of_the_name_wins(preparer, folder, tmp_path, monkeypatch):
    path = served(preparer, folder)
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").write_text("changed")
    assert served(preparer, "mine") != path


def test_a_slip_in_the_name_is_corrected(preparer, folder):
    served(preparer, folder)
    with pytest.raises(ModelError, match="did you mean 'mine'"):
        served(preparer, "mime")


# --- folders with GGUF files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "first"),
    [
        (["b.gguf", "a.gguf"], "a.gguf"),
        (["a b.gguf"], "a b.gguf"),
        (["mmproj-a.gguf", "q.gguf", "config.json"], "q.gguf"),
        (["m-00002-of-00002.gguf", "m-00001-of-00002.gguf"], "m-00001-of-00002.gguf"),
        ([f"{letter}.gguf" for letter in "abcdefghi"], "a.gguf"),
        (["a.gguf", "model.safetensors", "openvino_tokenizer.xml"], "a.gguf"),
    ],
)
def test_a_folder_of_gguf_files_is_answered_with_a_command_that_names_one(tmp_path, files, first):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError) as raised:
        check_ir_folder(tmp_path)
    what, remedy = str(raised.value).splitlines()
    assert first in what
    assert "openvino_" not in what
    command = remedy.removeprefix("To serve one, name it: ")
    words = subprocess.run(
        ["sh", "-c", f'printf "%s\\n" {command}'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words == ["nacelle", "serve", str(tmp_path / first)]


def test_a_folder_without_any_model_is_answered_with_what_works(tmp_path):
    with pytest.raises(
        ModelError, match=r"name a GGUF file, or a folder that optimum-cli export openvino wrote$"
    ):
        check_ir_folder(tmp_path)
