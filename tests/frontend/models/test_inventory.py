"""Models of the store by name: listed, copied, removed, and what this machine learned about them."""

import datetime
import json
import os
import shutil
import threading
from pathlib import Path

import msgspec
import pytest

from frontend.models.errors import ModelError, ModelExists, ModelInUse, ModelMissing
from frontend.models.files import bytes_of
from frontend.models.index import INDEX_FILE
from frontend.models.inventory import Inventory
from frontend.models.locks import Busy, locked, locked_at_once
from frontend.models.manifest import MANIFEST, Measured, Recipe, Tuned, read_manifest
from frontend.models.resolve import Preparer
from frontend.models.shelf import folder_name
from frontend.models.store import Store
from frontend.models.versions import converter_versions
from ipc.in_use import mark, unused, users_of
from tests.frontend.models.tiny import GGUF, Recorder, convert, sha256

BIG = GGUF * 20  # large enough to be shared by copies


def recipe(name: str = "mine", kind: str = "files", content: bytes = BIG, **changes: object) -> Recipe:
    base = Recipe(kind, name, sha256(content), converter_versions())
    return msgspec.structs.replace(base, **changes)


def put(store: Store, made: Recipe, source: str = "/m/mine.gguf", content: bytes = BIG) -> Path:
    def obtain(scratch: Path) -> Path:
        file = scratch / "x.gguf"
        file.write_bytes(content)
        return file

    return store.ensure(made, source, obtain)


@pytest.fixture
def store(tmp_path: Path, reporter: Recorder) -> Store:
    return Store(tmp_path / "store", reporter, convert)


def names(store: Inventory) -> list[str]:
    return [one.name for one in store.installed()]


# --- the manifest -----------------------------------------------------------------------------------------


def test_the_manifest_has_what_the_files_say(store):
    manifest = read_manifest(put(store, recipe()))
    assert manifest is not None
    assert (manifest.task, manifest.library, manifest.tag) == ("text", "openvino", "latest")


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2026-01-01T00:00:00"},  # without a time zone, it cannot be compared with the others
        {"files": {"a\0b": 1}},
    ],
)
def test_a_model_with_a_wrong_manifest_is_damaged_and_the_others_are_found(store, change):
    put(store, recipe())
    damaged = put(store, recipe(content=BIG * 2), content=BIG * 2)
    manifest = json.loads((damaged / MANIFEST).read_bytes())
    (damaged / MANIFEST).write_text(json.dumps(manifest | change))
    assert names(store) == ["mine"]


@pytest.mark.parametrize("file", [MANIFEST, f"../../../{INDEX_FILE}"])
def test_a_fifo_in_place_of_a_file_of_the_store_is_not_waited_for(store, file):
    put(store, recipe("other"))
    folder = put(store, recipe())
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    assert names(store) == (["other"] if file == MANIFEST else ["mine", "other"])


def test_a_folder_whose_name_is_no_text_is_not_looked_at(store):
    folder = put(store, recipe())
    shutil.copytree(folder.parent, os.fsdecode(os.fsencode(folder.parent.parent) + b"/\xff"))
    assert names(store) == ["mine"]


def test_a_copy_of_a_folder_with_a_fifo_fails_in_one_line(store):
    os.mkfifo(put(store, recipe()) / "fifo")
    with pytest.raises(ModelError, match=r"named pipe; remove it and pull it again$") as failed:
        store.copy("mine", "yours")
    assert "\n" not in str(failed.value)


def test_a_manifest_of_an_older_version_is_read_and_completed(store):
    folder = put(store, recipe())
    document = json.loads((folder / MANIFEST).read_bytes())
    old = {key: document[key] for key in ("recipe", "source", "created", "files")}
    (folder / MANIFEST).write_text(json.dumps(old))
    [one] = store.installed()
    assert (one.name, one.task, one.bytes) == ("mine", "text", sum(old["files"].values()))


def test_a_manifest_of_a_newer_version_is_read(store):
    folder = put(store, recipe())
    document = json.loads((folder / MANIFEST).read_bytes()) | {"mood": {"sunny": [1]}}
    (folder / MANIFEST).write_text(json.dumps(document))
    assert names(store) == ["mine"]


# --- the index --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": 99, "models": {}}', b"\xff\xfe"])
def test_a_damaged_index_is_written_again(store, damage):
    put(store, recipe())
    store.installed()
    whole = (store.root / INDEX_FILE).read_bytes()
    (store.root / INDEX_FILE).write_bytes(damage)
    assert names(store) == ["mine"]
    assert (store.root / INDEX_FILE).read_bytes() == whole


def test_the_index_follows_models_that_appear_and_vanish_behind_its_back(store):
    folder = put(store, recipe())
    put(store, recipe("other"), "/m/other.gguf")
    assert names(store) == ["mine", "other"]
    folder.rename(store.root.parent / "away")
    assert names(store) == ["other"]
    (store.root.parent / "away").rename(folder)
    assert names(store) == ["mine", "other"]


def test_the_index_follows_a_manifest_that_changes(store):
    folder = put(store, recipe())
    store.installed()
    store.measured(folder, 1, 2.0)
    assert store.require("mine").manifest.measured == {"CPU": Measured(1, 2.0)}


def test_an_index_that_is_right_is_not_written_again(store):
    put(store, recipe())
    store.installed()
    before = (store.root / INDEX_FILE).stat().st_ino
    store.installed()
    assert (store.root / INDEX_FILE).stat().st_ino == before


# --- names ------------------------------------------------------------------------------------------------


def test_a_copy_shares_the_weights_and_survives_its_original(store):
    original = put(store, recipe())
    copied = store.copy("mine", "yours:v1")
    weights = copied.path / "openvino_model.bin"
    assert weights.stat().st_ino == (original / "openvino_model.bin").stat().st_ino
    config = copied.path / "generation_config.json"
    assert config.stat().st_ino != (original / "generation_config.json").stat().st_ino
    assert names(store) == ["mine", "yours:v1"]
    assert store.remove("mine") < len(BIG), "the weights are still needed"
    assert names(store) == ["yours:v1"]
    assert weights.read_bytes() == BIG
    assert store.remove("yours:v1") > len(BIG)
    assert names(store) == []


def test_latest_is_the_bare_name(store):
    put(store, recipe())
    assert store.copy("mine:latest", "yours:latest").name == "yours"
    assert store.require("yours:latest").name == "yours"


def test_a_copy_is_replaced_and_anything_else_is_not(store):
    put(store, recipe())
    put(store, recipe("other", content=BIG + b"other"), "/m/other.gguf", BIG + b"other")
    store.copy("mine", "prod")
    store.copy("other", "prod")
    assert (store.require("prod").path / "openvino_model.bin").read_bytes() == BIG + b"other"
    assert len(list(store.require("prod").path.parent.iterdir())) == 1
    with pytest.raises(ModelExists, match="remove it first: nacelle rm other"):
        store.copy("mine", "other")


def test_names_that_look_alike_as_folders_are_models_of_their_own(store):
    put(store, recipe())
    alike = ["a--b", "a/b", "a-/b", "a/-b", "a-b", "a---b"]
    for name in alike:
        store.copy("mine", name)
    assert names(store) == sorted([*alike, "mine"])
    assert len({folder_name(name) for name in alike}) == len(alike)


def test_a_model_in_a_folder_as_earlier_versions_named_it_is_found_and_its_copies_are_replaced(store):
    built = put(store, recipe("a--b"))
    store.copy("a--b", "c--d")
    copied = store.require("c--d").path
    for path, name in ((built, "a--b"), (copied, "c--d")):
        path.parent.rename(path.parent.with_name(name))
    assert store.find(recipe("a--b")) == built.parent.with_name("a--b") / built.name
    store.copy("a--b", "c--d")
    assert names(store) == ["a--b", "c--d"]
    assert not list(copied.parent.with_name("c--d").iterdir())


def test_a_copy_of_a_model_of_links_has_files_of_its_own(store, tmp_path):
    weights = put(store, recipe()) / "openvino_model.bin"
    weights.rename(tmp_path / "weights")
    weights.symlink_to(tmp_path / "weights")
    copied = store.copy("mine", "yours").path / "openvino_model.bin"
    (tmp_path / "weights").write_bytes(b"changed in place")
    assert copied.read_bytes() == BIG


@pytest.mark.parametrize("name", ["smollm2", "smollm2:latest", "synthetic:50"])
def test_a_name_that_means_something_else_is_refused(store, name):
    put(store, recipe())
    with pytest.raises(ModelExists, match="name of the catalogue"):
        store.copy("mine", name)


@pytest.mark.parametrize("name", ["", ":x", "a:b:c", "../x", "a b", "a//b", "-x", "x" * 200])
def test_what_cannot_be_a_name_is_refused(store, name):
    put(store, recipe())
    with pytest.raises(ModelError, match="cannot be a model's name"):
        store.copy("mine", name)
    assert names(store) == ["mine"]


def test_a_copy_is_served_by_its_name(store, reporter):
    put(store, recipe())
    copied = store.copy("mine", "yours:v1")
    preparer = Preparer(store, reporter, {})
    assert preparer._folder("yours:v1") == copied.path


def test_an_unknown_name_gets_a_hint(store):
    put(store, recipe())
    with pytest.raises(ModelMissing, match="did you mean 'mine'"):
        store.remove("mime")
    with pytest.raises(ModelMissing, match=r"fetch it first: nacelle pull minilm$"):
        store.remove("minilm")


# --- removal ----------------------------------------------------------------------------------------------


def test_what_is_removed_was_ours(store, tmp_path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(BIG)
    folder = store.ensure(recipe(), str(file), lambda _: file)
    store.remove(str(file))
    assert file.read_bytes() == BIG
    assert not folder.parent.exists()


def test_all_revisions_and_the_source_of_a_model_are_removed(store):
    put(store, recipe())
    old = put(store, recipe(converters={"openvino": "1"}))
    (old.parent / "source").mkdir()
    store.remove("mine")
    assert not old.parent.exists()
    assert not list(store.manifests())


def test_of_two_models_with_one_name_the_path_says_which(store):
    put(store, recipe())
    put(store, recipe(content=BIG + b"2"), "/n/mine.gguf", BIG + b"2")
    with pytest.raises(ModelError, match=r"2 models named 'mine'; .*: /m/mine.gguf, /n/mine.gguf"):
        store.remove("mine")
    store.remove("/n/mine.gguf")
    assert [one.manifest.source for one in store.installed()] == ["/m/mine.gguf"]


def test_a_loaded_model_is_not_removed(store):
    folder = put(store, recipe())
    descriptor = mark(folder)
    assert users_of(folder)
    with pytest.raises(ModelInUse, match=r"mine is loaded by .*; unload it first: nacelle unload mine"):
        store.remove("mine")
    with pytest.raises(ModelInUse, match="mine is loaded by a running server"):
        store.check_removal("mine", {os.getpid() + 1})
    store.check_removal("mine", {os.getpid()})
    assert names(store) == ["mine"]

    os.close(descriptor)
    store.check_removal("mine")
    store.remove("mine")
    assert names(store) == []


def test_a_folder_that_is_being_removed_cannot_be_marked(store):
    folder = put(store, recipe())
    with unused(folder):
        assert mark(folder) == -1


def test_a_model_that_is_being_built_is_not_removed(store):
    folder = put(store, recipe())
    with (
        locked(store.root, f"files/{folder.parent.name}"),
        pytest.raises(ModelInUse, match="another process is preparing mine"),
    ):
        store.remove("mine")
    with (
        locked(store.root, f"files/{folder.parent.name}"),
        pytest.raises(ModelInUse, match="another process is preparing mine"),
    ):
        store.check_removal("mine")


def test_a_model_in_a_folder_that_cannot_be_changed_is_not_removed(store, monkeypatch):
    put(store, recipe())
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a super-user may write everywhere
    with pytest.raises(ModelError, match=r"cannot change the store .*: Permission denied"):
        store.check_removal("mine")


def test_bytes_with_a_link_elsewhere_are_not_freed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "twin").hardlink_to(tmp_path / "a" / "x")
    assert bytes_of([tmp_path / "a"]) == 5
    (tmp_path / "b").hardlink_to(tmp_path / "a" / "x")
    assert bytes_of([tmp_path / "a"]) == 0


# --- what this machine learned ----------------------------------------------------------------------------


def test_what_was_measured_is_in_the_manifest(store):
    folder = put(store, recipe())
    store.measured("mine", 1000, 2.5, "GPU")
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.measured == {"GPU": Measured(1000, 2.5)}
    store.measured(folder, 7, 1.0)
    assert store.learned(folder).measured == {"CPU": Measured(7, 1.0), "GPU": Measured(1000, 2.5)}


def test_what_was_tuned_stays_when_something_is_measured_and_can_be_undone(store):
    folder = put(store, recipe())
    tuned = Tuned(properties={"X": "1"}, settings={"threads": 2}, goal="latency", gain=1.5)
    store.tune("mine", tuned)
    store.measured("mine", 1, 1.0)
    assert store.learned(folder).tuned == tuned
    store.tune("mine", None)
    assert store.learned(folder).tuned is None
    assert store.learned(folder).measured == {"CPU": Measured(1, 1.0)}


def test_a_folder_outside_the_store_is_remembered_too(store, tmp_path):
    folder = tmp_path / "ir"
    folder.mkdir()
    assert store.learned(folder).measured == {}
    store.measured(folder, 7, 1.0)
    store.tune(folder, Tuned(settings={"threads": 1}))
    assert store.learned(folder).measured == {"CPU": Measured(7, 1.0)}
    assert store.learned(folder).tuned == Tuned(settings={"threads": 1})
    assert not list(folder.iterdir())
    assert names(store) == []


def test_writers_at_once_lose_nothing(store):
    folder = put(store, recipe())

    def write(number: int) -> None:
        for _ in range(10):
            if number % 2:
                store.measured(folder, number, 1.0)
            else:
                store.tune(folder, Tuned(goal=str(number)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    learned = store.learned(folder)
    assert learned.measured["CPU"].memory_bytes in (1, 3)
    assert learned.tuned.goal in ("0", "2")
    assert not list(folder.glob(".*")), "no temporary file is left"


# --- locks ------------------------------------------------------------------------------------------------


def test_locks_of_one_name_exclude_each_other_and_others_do_not(tmp_path):
    with locked(tmp_path, "a"):
        with locked_at_once(tmp_path, "b"):
            pass
        with pytest.raises(Busy), locked_at_once(tmp_path, "a"):
            pass
    with locked_at_once(tmp_path, "a"):
        pass


def test_two_models_are_built_at_once(store, tmp_path, reporter):
    building, done = threading.Event(), threading.Event()

    def slow(source: Path, folder: Path, report: object) -> None:
        building.set()
        assert done.wait(30)
        convert(source, folder)

    other = Store(store.root, reporter, slow)
    thread = threading.Thread(target=put, args=(other, recipe("slow"), "/m/slow.gguf"))
    thread.start()
    assert building.wait(30)
    put(store, recipe())
    done.set()
    thread.join(30)
    assert names(store) == ["mine", "slow"]
    assert "Waiting for another process that prepares a model" not in reporter.steps


# --- downloads that can be resumed ------------------------------------------------------------------------


def test_a_download_is_kept_until_it_succeeds(store):
    with pytest.raises(ConnectionError), store.downloading("abc") as folder:
        (folder / "part").write_bytes(b"first")
        raise ConnectionError
    with store.downloading("abc") as folder:
        assert (folder / "part").read_bytes() == b"first"
    assert not (store.root / "partial").exists()


def test_a_download_that_never_began_leaves_nothing(store):
    with pytest.raises(ConnectionError), store.downloading("abc"):
        raise ConnectionError
    assert not (store.root / "partial").exists()


def test_only_old_downloads_are_swept(store):

    for name, age in (("old", 15 * 86_400), ("new", 0)):
        with pytest.raises(ConnectionError), store.downloading(name) as folder:
            (folder / "part").touch()
            raise ConnectionError
        when = datetime.datetime.now().timestamp() - age
        for path in (folder / "part", folder):
            os.utime(path, (when, when))
    put(store, recipe())
    assert [path.name for path in (store.root / "partial").iterdir()] == ["new"]
