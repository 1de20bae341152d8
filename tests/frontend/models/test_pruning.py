"""What `nacelle prune` removes, and what it does not."""

import os
import time
from pathlib import Path

import pytest

from frontend.models import pruning
from frontend.models.locks import locked
from frontend.models.manifest import MANIFEST
from frontend.models.pruning import plan, prune
from frontend.models.store import Store
from ipc.in_use import mark
from tests.frontend.models.test_inventory import BIG, names, put, recipe
from tests.frontend.models.tiny import Recorder, convert

OLDER = {"openvino": "1"}


@pytest.fixture
def store(tmp_path: Path, reporter: Recorder) -> Store:
    return Store(tmp_path / "store", reporter, convert)


def pruned(store: Store, **options: bool) -> dict[Path, str]:
    return {one.path: one.why for one in prune(store, **options).removed}


def test_an_empty_store_has_nothing_to_prune(store):
    assert prune(store).bytes == 0
    assert not store.root.exists()


def test_old_revisions_go_where_there_is_a_newer_one(store):
    put(store, recipe())
    old = put(store, recipe(converters=OLDER))
    assert pruned(store) == {old: pruning.OLD}
    assert names(store) == ["mine"]
    assert not old.exists()


def test_the_only_revision_stays_and_so_does_its_source(store):
    old = put(store, recipe(converters=OLDER))
    (old.parent / "source").mkdir()
    assert pruned(store) == {}


def test_of_two_models_in_one_folder_each_keeps_its_last_revision(store):
    put(store, recipe())
    put(store, recipe(content=BIG + b"2", converters=OLDER), "/n/mine.gguf", BIG + b"2")
    assert pruned(store) == {}


def test_a_copy_is_never_old(store):
    put(store, recipe(converters=OLDER))
    store.copy("mine", "yours")
    assert pruned(store) == {}


def test_sources_go_unless_they_are_to_be_kept(store):
    source = put(store, recipe()).parent / "source"
    source.mkdir()
    (source / "x.gguf").write_bytes(BIG)
    assert pruned(store, sources=False) == {}
    report = prune(store)
    assert [(one.path, one.why, one.bytes) for one in report.removed] == [(source, pruning.SOURCES, len(BIG))]
    assert report.bytes == len(BIG)
    assert not source.exists()


def test_damaged_models_go(store):
    folder = put(store, recipe())
    (folder / "openvino_model.bin").unlink()
    other = put(store, recipe("other"), "/m/other.gguf")
    (other / MANIFEST).write_text("{")
    assert pruned(store) == {folder: pruning.DAMAGED, other: pruning.DAMAGED}
    assert not list((store.root / "files").iterdir()), "nor their empty folders"


def test_what_was_interrupted_goes_unless_it_is_under_way(store):
    scratch = put(store, recipe()).parent / "partial-x"
    download = store.root / "partial" / "abc"
    trash = store.root / ".trash" / "y"
    for folder in (scratch, download, trash):
        folder.mkdir(parents=True)
    with locked(store.root, "files/mine"), locked(store.root, "partial/abc"):
        assert plan(store) == [pruning.Needless(trash, pruning.INTERRUPTED, 0)]
    assert pruned(store) == dict.fromkeys((scratch, download, trash), pruning.INTERRUPTED)
    assert not any(folder.exists() for folder in (scratch, download, trash.parent))
    assert names(store) == ["mine"]


def test_a_file_that_was_never_put_in_its_place_goes(store):
    folder = put(store, recipe())
    for parent in (store.root, folder):
        for name, age in (("old", 7200), ("new", 0)):
            file = parent / f".manifest.json-{name}"
            file.touch()
            os.utime(file, (time.time() - age,) * 2)
    prune(store)
    assert sorted(path.name for path in store.root.rglob(".manifest*")) == [".manifest.json-new"] * 2


def test_a_dry_run_changes_nothing(store, tmp_path):
    put(store, recipe())
    old = put(store, recipe(converters=OLDER))
    file = tmp_path / "gone.gguf"
    file.write_bytes(BIG)
    store.digests.sha256(file)
    file.unlink()
    dry = prune(store, dry_run=True)
    assert old.exists()
    real = prune(store)
    assert (dry.removed, dry.digests) == (real.removed, real.digests)
    assert real.digests == 1
    assert prune(store).digests == 0


def test_an_old_revision_that_a_server_has_loaded_stays(store):
    put(store, recipe())
    old = put(store, recipe(converters=OLDER))
    descriptor = mark(old)
    report = prune(store)
    os.close(descriptor)
    assert [one.path for one in report.kept] == [old]
    assert report.removed == []
    assert old.exists()


def test_the_source_of_a_conversion_that_was_killed_goes_unless_it_is_under_way(store):
    home = store.root / "catalogue" / "mine"
    (home / "source").mkdir(parents=True)
    with locked(store.root, "catalogue/mine"):
        assert plan(store, sources=False) == []
    assert pruned(store, sources=False) == {home / "source": pruning.INTERRUPTED}
    assert not home.exists()


def test_what_is_needed_again_since_it_was_planned_stays(store, monkeypatch):
    new = put(store, recipe())
    old = put(store, recipe(converters=OLDER))
    planned = plan(store)
    (new / "openvino_model.bin").unlink()
    monkeypatch.setattr(pruning, "plan", lambda *_, **__: planned)
    assert [one.path for one in prune(store).kept] == [old]
    assert old.exists()


def test_what_somebody_else_removed_meanwhile_is_gone(store, monkeypatch):
    put(store, recipe())
    old = put(store, recipe(converters=OLDER))
    planned = plan(store)
    store.remove("mine")
    monkeypatch.setattr(pruning, "plan", lambda *_, **__: planned)
    assert [one.path for one in prune(store).removed] == [old]
