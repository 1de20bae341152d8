"""The store: whole or not at all, built once, found without network."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from frontend.models.converter import convert as convert_source
from frontend.models.digests import DigestCache
from frontend.models.errors import ModelError
from frontend.models.reporter import Reporter
from frontend.models.store import Store
from tests.e2e.serving import wait_for
from tests.frontend.models.puller import RECIPE, obtain
from tests.frontend.models.tiny import GGUF, Recorder, convert, sha256

ROOT = Path(__file__).parents[3]
Pull = Callable[[], "subprocess.Popen[str]"]


def never(_: Path) -> Path:
    raise AssertionError("the store has it already")


@pytest.fixture
def store(tmp_path: Path, reporter: Recorder) -> Store:
    return Store(tmp_path / "store", reporter, convert)


@pytest.fixture
def pull(tmp_path: Path) -> Iterator[Pull]:
    """Starts processes that prepare the same model in the same store."""
    children = []

    def start() -> "subprocess.Popen[str]":
        command = [
            sys.executable,
            "-m",
            "tests.frontend.models.puller",
            str(tmp_path / "store"),
            str(tmp_path),
        ]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def test_an_empty_store_has_nothing(store):
    assert store.find(RECIPE) is None
    assert not list(store.manifests())


def test_a_model_is_built_once(store, reporter):
    built = store.ensure(RECIPE, "tiny", obtain)
    assert reporter.steps == ["Converting tiny for OpenVINO"]
    assert store.ensure(RECIPE, "tiny", never) == built == store.find(RECIPE)


def test_the_manifest_says_what_the_model_is(store):
    store.ensure(RECIPE, "tiny", obtain)
    (manifest,) = store.manifests()
    assert manifest.recipe == RECIPE
    assert manifest.source == "tiny"
    assert manifest.files["openvino_model.bin"] == len(GGUF)


def test_generation_defaults_win_over_the_converted_ones(store):
    folder = store.ensure(RECIPE, "tiny", obtain)
    assert json.loads((folder / "generation_config.json").read_text()) == {
        "eos_token_id": [2],
        "temperature": 0.2,
    }


@pytest.mark.parametrize(
    "changed",
    [{"sha256": "0" * 64}, {"converters": {"openvino": "2"}}, {"generation": {}}, {"kind": "files"}],
    ids=str,
)
def test_whatever_decides_a_model_makes_another_revision(store, changed):
    store.ensure(RECIPE, "tiny", obtain)
    assert store.find(msgspec.structs.replace(RECIPE, **changed)) is None


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_damaged_model_is_built_anew(store, damage):
    folder = store.ensure(RECIPE, "tiny", obtain)
    model = folder / "openvino_model.bin"
    if damage == "gone":
        model.unlink()
    else:
        model.write_bytes(b"")
    assert store.find(RECIPE) is None
    assert store.ensure(RECIPE, "tiny", obtain) == folder
    assert model.read_bytes() == GGUF


def test_a_file_that_the_engine_adds_does_no_harm(store):
    folder = store.ensure(RECIPE, "tiny", obtain)
    (folder / "compiled.blob").touch()
    assert store.find(RECIPE) == folder


def test_a_failed_conversion_leaves_nothing(tmp_path, reporter):
    def fail(gguf: Path, folder: Path, reporter: Reporter) -> None:
        convert(gguf, folder)
        raise ModelError("no")

    store = Store(tmp_path, reporter, fail)
    with pytest.raises(ModelError, match=r"^no$"):
        store.ensure(RECIPE, "tiny", obtain)
    assert store.find(RECIPE) is None
    assert not store.home(RECIPE).exists()


def test_a_failed_conversion_does_no_harm_to_a_process_that_waits_to_build_the_same(tmp_path, reporter):
    is_waiting, has_failed = threading.Event(), threading.Event()

    class Waiting(Recorder):
        def step(self, text: str) -> None:
            super().step(text)
            is_waiting.set()
            assert has_failed.wait(30)

    def fail(gguf: Path, folder: Path, _: Reporter) -> None:
        second.start()
        assert is_waiting.wait(30)
        raise ModelError("no")

    waiting = Waiting()
    built: list[Path] = []
    patient = Store(tmp_path, waiting, convert)
    second = threading.Thread(target=lambda: built.append(patient.ensure(RECIPE, "tiny", obtain)))
    with pytest.raises(ModelError, match=r"^no$"):
        Store(tmp_path, reporter, fail).ensure(RECIPE, "tiny", obtain)
    has_failed.set()
    second.join(30)
    assert waiting.steps == [
        "Waiting for another process that prepares a model",
        "Converting tiny for OpenVINO",
    ]
    assert built == [patient.find(RECIPE)]


def test_a_store_that_cannot_be_written_is_one_clear_line(tmp_path, reporter):
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot store tiny in .*Not a directory"):
        Store(tmp_path / "file", reporter, convert).ensure(RECIPE, "tiny", obtain)


def test_a_killed_pull_leaves_nothing_usable_and_the_next_one_works(store, pull, tmp_path):
    child = pull()
    wait_for((tmp_path / "built").exists, "the conversion begins")
    child.kill()
    child.wait()
    assert list(store.home(RECIPE).glob("partial-*")), "the pull was not killed in mid-work"
    assert store.find(RECIPE) is None
    assert not list(store.manifests())

    folder = store.ensure(RECIPE, "tiny", obtain)
    assert list(store.home(RECIPE).iterdir()) == [folder]


def test_a_start_removes_what_a_killed_pull_left_of_another_model(store):
    store.ensure(RECIPE, "tiny", obtain)
    left = store.home(RECIPE).with_name("other") / "partial-x"
    left.mkdir(parents=True)
    store.ensure(RECIPE, "tiny", never)
    assert not left.exists()


def test_a_start_leaves_alone_what_another_process_builds(store, pull, tmp_path):
    other = msgspec.structs.replace(RECIPE, name="other")
    store.ensure(other, "tiny", obtain)
    child = pull()
    wait_for((tmp_path / "built").exists, "it is at work")
    store.ensure(other, "tiny", never)
    assert list(store.home(RECIPE).glob("partial-*"))
    (tmp_path / "go").touch()
    assert child.wait(30) == 0


def test_two_pulls_at_once_build_once(store, pull, tmp_path):
    first = pull()
    wait_for((tmp_path / "built").exists, "the first is at work")
    second = pull()
    assert second.stdout.readline() == "Waiting for another process that prepares a model\n"
    (tmp_path / "go").touch()
    folder = str(store.home(RECIPE) / RECIPE.revision)
    assert first.communicate(timeout=30)[0].splitlines()[-1] == folder
    assert second.communicate(timeout=30)[0].splitlines()[-1] == folder
    assert (tmp_path / "built").read_text() == "built\n"


def test_a_host_module_in_the_users_folder_does_not_convert(tmp_path, monkeypatch):
    (tmp_path / "host.py").write_text("raise SystemExit('the wrong host')")
    monkeypatch.chdir(tmp_path)
    gguf = tmp_path / "broken.gguf"
    gguf.write_bytes(GGUF)
    (tmp_path / "ir").mkdir()
    with pytest.raises(ModelError, match=r"^cannot convert broken.gguf: ") as raised:
        convert_source(gguf, tmp_path / "ir")
    assert "wrong host" not in str(raised.value)


# --- hashes -----------------------------------------------------------------------------------------------


def test_a_hash_is_remembered_while_the_file_stays_the_same(tmp_path, monkeypatch):
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    cache = tmp_path / "store" / "digests.json"
    assert DigestCache(cache).sha256(file) == sha256(GGUF)
    monkeypatch.setattr("frontend.models.digests.sha256_of", never)
    assert DigestCache(cache).sha256(file) == sha256(GGUF)


def test_only_a_hash_of_the_same_file_is_known(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    cache = DigestCache(tmp_path / "digests.json")
    assert not cache.knows(file)
    cache.sha256(file)
    assert cache.knows(file)
    file.write_bytes(GGUF + b"more")
    assert not cache.knows(file)


def test_a_changed_file_is_hashed_again(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    cache = DigestCache(tmp_path / "digests.json")
    cache.sha256(file)
    file.write_bytes(GGUF + b"more")
    assert cache.sha256(file) == sha256(GGUF + b"more")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}'])
def test_a_broken_cache_is_only_slow(tmp_path, content):
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    (tmp_path / "digests.json").write_bytes(content)
    assert DigestCache(tmp_path / "digests.json").sha256(file) == sha256(GGUF)
