"""`nacelle list`, `show`, `cp`, `rm`, `prune` and `load --estimate` on a store with a real model."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from frontend.cli.root import root
from frontend.models.inventory import Inventory
from frontend.models.manifest import Tuned
from frontend.models.reporter import Silent
from frontend.models.store import Store
from ipc.in_use import mark
from tests.frontend.models.test_inventory import put, recipe
from tests.frontend.models.tiny import convert

BYTES_PER_TOKEN = 30 * 3 * (2 * 64 * 32 + 8 * (64 + 32)) / 32  # of SmolLM2 in 8 bits


def run(*arguments: str) -> Result:
    return CliRunner().invoke(root, arguments, prog_name="nacelle")


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.output


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """With the model `mine`, which was converted from a file."""
    monkeypatch.setenv("NACELLE_STORE", str(tmp_path / "store"))
    store = Store(tmp_path / "store", Silent(), convert)
    put(store, recipe())
    return store


@pytest.fixture
def smollm2(smollm2_ir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """A store with links to the real model."""
    target = tmp_path / "store" / "catalogue" / "smollm2" / smollm2_ir.name
    target.mkdir(parents=True)
    for file in smollm2_ir.iterdir():
        (target / file.name).symlink_to(file)
    monkeypatch.setenv("NACELLE_STORE", str(tmp_path / "store"))
    return Inventory(tmp_path / "store")


def test_list_as_json_has_what_programs_need(store):
    rows = {row["name"]: row for row in json.loads(said("list", "--json"))}
    assert rows["smollm2"]["state"] == "not pulled"
    assert rows["smollm2"]["path"] is None
    mine = rows["mine"]
    assert (mine["state"], mine["task"], mine["source"]) == ("ready", "text", "/m/mine.gguf")
    assert Path(mine["path"]).is_dir()


def test_ls_is_list(store):
    assert said("ls") == said("list")


def test_copies_are_listed_and_removed(store):
    assert said("cp", "mine", "yours:v1") == "Copied mine to yours:v1\n"
    assert "yours:v1" in said("list")
    assert said("rm", "mine", "yours:v1").startswith("Removed mine (")
    assert store.installed() == []
    assert "yours" not in said("list")


def test_the_file_that_a_model_was_converted_from_names_it_too(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(store, recipe("other"), str(tmp_path / "other.gguf"))
    assert said("show", "./other.gguf").splitlines()[1].split() == ["name", "other"]
    said("rm", "./other.gguf")
    assert [one.name for one in store.installed()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["rm", "mime"], "the store has no model 'mime'; did you mean 'mine'?"),
        (["show", "minilm"], "minilm is not in the store; fetch it first: nacelle pull minilm"),
        (["cp", "mine", "smollm2"], "smollm2 is a name of the catalogue; choose another one, for example"),
        (["cp", "mine", "a b"], "'a b' cannot be a model's name; write NAME or NAME:TAG"),
        (["load", "--estimate", "mime"], "the store has no model 'mime'; did you mean 'mine'?"),
    ],
)
def test_what_cannot_be_done_is_one_line(store, arguments, error):
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {error}")
    assert result.stderr.count("\n") == 1


def test_a_loaded_model_is_not_removed(store):
    descriptor = mark(store.require("mine").path)
    result = run("rm", "mine")
    os.close(descriptor)
    assert result.exit_code == 1
    assert result.stderr.endswith("; unload it first: nacelle unload mine\n")
    assert store.installed_named("mine") is not None


def test_prune_says_what_it_would_do_and_does_it(store):
    old = put(store, recipe(converters={"openvino": "1"}))
    dry = said("prune", "--dry-run")
    assert f"Would remove files/mine/{old.name} (made by other versions of the converters" in dry
    assert old.exists()
    report = json.loads(said("prune", "--json"))
    assert [Path(one["path"]) for one in report["removed"]] == [old]
    assert report["bytes"] == sum(one["bytes"] for one in report["removed"]) > 0
    assert not old.exists()
    assert said("prune") == "Freed 0 bytes (0 B)\n"


def test_show_has_all_of_the_manifest(smollm2):
    text = said("show", "smollm2")
    for line in ("task            text", "precision       int4", "context length  8192", "temperature   0.2"):
        assert line in text
    assert "licence       Apache-2.0" in text
    assert "openvino_model.bin" in text
    assert "<|im_start|>" in said("show", "smollm2", "--template")
    assert said("show", "smollm2", "--licence") == "Apache-2.0\n"
    shown = json.loads(said("show", "smollm2", "--json"))
    assert shown["manifest"]["recipe"]["name"] == "smollm2"
    assert shown["details"]["parameters"]["temperature"] == 0.2


@pytest.mark.parametrize(
    ("kind", "fate"), [("files", "converted again when it is served"), ("pulled", "served as it is")]
)
def test_show_says_what_becomes_of_an_outdated_model(store, kind, fate):
    put(store, recipe("old", kind, converters={"openvino": "1"}))
    assert f"outdated: {fate}" in said("show", "old")


def test_show_has_what_this_machine_learned(store):
    assert "On this machine" not in said("show", "mine")
    store.measured("mine", 471_800_000, 2.5)
    store.tune("mine", Tuned(settings={"threads": 2}, properties={"X": "1"}, goal="latency", gain=1.3))
    text = said("show", "mine")
    assert "memory on CPU  472 MB, loaded in 2.5 s" in text
    assert "tuned          threads=2, X=1" in text
    assert "1.30 × in latency" in text


def test_an_estimate_is_weights_and_cache_and_process(smollm2):
    command = ["load", "--estimate", "smollm2", "--sequences", "4", "--json"]
    [found] = json.loads(said(*command))
    estimate = found["estimate"]
    parts = (estimate["weights_bytes"], estimate["kv_cache_bytes"], estimate["process_bytes"])
    assert estimate["total_bytes"] == sum(parts)
    assert estimate["kv_cache_bytes"] == round(4 * 8192 * BYTES_PER_TOKEN)
    [shorter] = json.loads(said(*command, "--context-length", "4096"))
    assert shorter["estimate"]["kv_cache_bytes"] == round(4 * 4096 * BYTES_PER_TOKEN)
    text = said(*command[:-1])
    assert "KV cache  448 MB  32,768 tokens, 13.7 kB per token; 4 × 8,192 tokens" in text
    assert "Free memory: " in text


def test_an_estimate_takes_the_models_settings_and_folders(smollm2, smollm2_ir, tmp_path):
    config = tmp_path / "nacelle.toml"
    config.write_text(f"[[models]]\nname = 'm'\nsource = '{smollm2_ir}'\nkv_cache_gib = 2.0\n")
    [found] = json.loads(said("load", "--estimate", "m", "--config", str(config), "--json"))
    assert found["path"] == str(smollm2_ir)
    assert found["estimate"]["kv_cache_bytes"] == 2 * 1024**3


def test_an_estimate_knows_what_the_last_load_took(store):
    store.measured("mine", 471_800_000, 2.5)
    assert "measured  472 MB  after the last load, which took 2.5 s" in said("load", "--estimate", "mine")
