"""`nacelle config`: what is effective, and where it was set; and the completion of shells."""

import json
import os
import subprocess
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from bench.server import nacelle_command
from frontend.cli.root import root
from frontend.config import ModelSettings, Settings
from frontend.config_sources import settings_of
from frontend.models.manifest import Manifest, Recipe, write_manifest


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(root, ["config", *arguments], prog_name="nacelle")
    assert result.exit_code == 0, result.output
    return result.stdout


FILE = """\
[server]
port = 9000
max_queue = 7
[[models]]
name = "chat"
source = "smollm2"
threads = 2
"""


def test_each_value_has_its_origin(folder, monkeypatch):
    (folder / "nacelle.toml").write_text(FILE)
    (folder / ".env").write_text("NACELLE_LOG_LEVEL=debug\n")
    monkeypatch.setenv("NACELLE_PORT", "9001")
    document = json.loads(run("--json", "--drain-seconds", "3"))
    server, [model] = document["server"], document["models"]
    assert server["port"] == {"value": 9001, "kind": "variable", "origin": "NACELLE_PORT"}
    assert server["drain_seconds"] == {"value": 3.0, "kind": "option", "origin": "--drain-seconds"}
    assert server["log_level"] == {"value": "debug", "kind": "dotenv", "origin": ".env NACELLE_LOG_LEVEL"}
    assert server["max_queue"]["kind"] == "file"
    assert server["max_queue"]["origin"] == "nacelle.toml [server] max_queue"
    assert server["stall_seconds"] == {"value": 30.0, "kind": "default", "origin": "default"}
    assert model["threads"]["origin"] == "nacelle.toml [[models]] 1 threads"
    assert model["name"]["value"] == "chat"


def test_every_setting_is_shown_with_defaults_and_few_without(folder):
    shown = {line.split()[0] for line in run("smollm2").splitlines()}
    wanted = {
        setting.name
        for struct in (Settings, ModelSettings)
        for setting in settings_of(struct)
        if setting.name != "models" and not setting.environment_only
    }
    assert shown == wanted | {"[server]", "[[models]]"}
    assert run("smollm2", "--set").splitlines() == [
        "[server]",
        "  all settings have their defaults",
        "[[models]]",
        "  name    smollm2  MODEL",
        "  source  smollm2  MODEL",
    ]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_stay_secret(monkeypatch, form):
    monkeypatch.setenv("NACELLE_API_KEY", "open-sesame")
    monkeypatch.setenv("NACELLE_SESSION_STORE", "redis://:open-sesame@x")
    shown = run(*form)
    assert "open-sesame" not in shown
    assert "NACELLE_API_KEY" in shown


def test_a_wrong_value_is_an_error_as_for_the_server():
    result = CliRunner().invoke(root, ["config", "--port", "abc"], prog_name="nacelle")
    assert (result.exit_code, result.stderr) == (2, "Error: --port: must be a whole number, not 'abc'\n")


# --- completion -------------------------------------------------------------------------------------------


def completed(*words):
    environment = {"COMP_WORDS": " ".join(["nacelle", *words]), "COMP_CWORD": str(len(words))}
    environment["_NACELLE_COMPLETE"] = "bash_complete"
    result = subprocess.run(
        nacelle_command(), capture_output=True, text=True, env=os.environ | environment, timeout=60
    )
    return [line.partition(",")[2] for line in result.stdout.splitlines()]


def put_model(store):
    model = store / "files" / "smart" / "0"
    model.mkdir(parents=True)
    recipe = Recipe(kind="files", name="smart", sha256="", converters={})
    write_manifest(model, Manifest(recipe, "smart.gguf", datetime.now(UTC), {}))


def test_commands_options_and_models_are_completed(monkeypatch, folder):
    monkeypatch.setenv("NACELLE_STORE", str(folder / "store"))
    put_model(folder / "store")
    assert completed("sto") == ["stop"]
    assert completed("run", "sm") == ["smart", "smollm2"]
    assert completed("run", "m", "--thi") == ["--think"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell):
    result = CliRunner().invoke(root, ["completion", shell], prog_name="nacelle")
    assert result.exit_code == 0
    assert "_NACELLE_COMPLETE" in result.stdout


def test_names_in_the_store_agents_and_values_are_completed(monkeypatch, folder):
    monkeypatch.setenv("NACELLE_STORE", str(folder / "store"))
    monkeypatch.setenv("NACELLE_URL", "http://127.0.0.1:9")  # nobody is there
    put_model(folder / "store")
    for command in ("rm", "show", "cp", "stop", "unload"):
        assert completed(command, "sm") == ["smart"], command
    assert completed("pull", "kok") == ["kokoro", "kok"]  # the last one asks the shell for files
    assert completed("launch", "co") == ["codex", "continue"]
    assert completed("serve", "--device", "g") == ["GPU"]
    assert completed("serve", "--log-level", "w") == ["warning"]


def test_paths_that_have_defaults_are_shown(folder, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    monkeypatch.delenv("NACELLE_STORE", raising=False)
    server = json.loads(run("--json"))["server"]
    assert server["store"] == {"value": str(folder / "nacelle"), "kind": "default", "origin": "default"}
    assert server["spool"]["value"].startswith("/")


def test_a_model_that_serve_would_not_find_is_an_error(folder):
    result = CliRunner().invoke(root, ["config", "nosuch", "--set"], prog_name="nacelle")
    assert result.exit_code == 1
    assert "'nosuch' is neither a catalogue model" in result.stderr
    run("nosuch", "--set", "--remote", "http://h:1/v1")
    run("synthetic:50", "--set")
