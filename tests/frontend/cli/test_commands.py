"""The commands: help, what they pass on, what they refuse, and how they end."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner, Result

from bench.server import nacelle_command
from frontend.cli.logs import last
from frontend.cli.root import SUBCOMMANDS, root
from frontend.cli.usage import EXIT_STATUS
from frontend.config import ConfigError, ModelSettings, Settings
from frontend.config_names import _ELSEWHERE, guess
from frontend.config_sources import settings_of
from frontend.listening import explain_listening
from frontend.models.resolve import PreparedModel
from frontend.reload.configuration import Configuration
from frontend.shortened import shown_path
from tests.e2e.serving import is_alive, wait_for


@pytest.fixture(autouse=True)
def empty_store(tmp_path, monkeypatch):
    monkeypatch.setenv("NACELLE_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


LONG = "a" * 3000  # characters


def run(*arguments: str) -> Result:
    return CliRunner().invoke(root, arguments, prog_name="nacelle")


# --- help -------------------------------------------------------------------------------------------------


def test_help_in_a_real_process_names_every_command():
    result = subprocess.run([*nacelle_command(), "--help"], capture_output=True, text=True, check=True)
    for name in SUBCOMMANDS:
        assert f"\n  {name} " in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_main_help_says_of_a_command_what_its_own_help_says(name):
    module, _, attribute = SUBCOMMANDS[name].where.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    assert command.name == name
    assert command.get_short_help_str(limit=100) == SUBCOMMANDS[name].help


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("--help", {"rich", "msgspec", "platformdirs", "falcon", "zmq", "openvino", "bench"}),
        ("list", {"rich", "falcon", "uvicorn", "zmq", "openvino", "bench"}),
    ],
)
def test_what_must_be_quick_imports_little(command, unwanted):
    code = "import sys, frontend.cli\ntry: frontend.cli.main()\nfinally: print('MODULES', *sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.partition("MODULES")[2].split()}
    assert "click" in loaded  # or the check below looked at nothing
    assert not loaded & unwanted


def test_the_help_of_serve_shows_each_setting_with_its_variable_and_default():
    output = " ".join(run("serve", "--help").output.split())
    for part in (
        "--port N Port to listen on; 0 selects a free port. [env NACELLE_PORT; default 8000]",
        "--property KEY=VALUE OpenVINO property, passed to the engine unchanged. "
        "[env NACELLE_PROPERTIES; repeatable]",
        "[env NACELLE_STALL_SECONDS; default 30]",
        "--log-format text|json",
        "[env NACELLE_PREFIX_CACHING; default on]",
    ):
        assert part in output
    assert "--faults" not in output


def test_the_version_is_shown():
    assert run("--version").output == "nacelle 0.1.0\n"


# --- serve ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch):
    """Stands in for the server; holds what it was given."""
    calls: list[tuple[Settings, list[PreparedModel]]] = []

    def serve(configuration: Configuration, _again: object) -> int:
        calls.append((configuration.settings, configuration.prepared))
        return 0

    monkeypatch.setattr("frontend.app.serve", serve)
    monkeypatch.setattr("frontend.listening.why_not", lambda _: "")
    return calls


def test_serve_hands_settings_and_prepared_models_to_the_server(served):
    result = run(
        *("serve", "synthetic:50", "--name", "fast", "--port", "0", "--replicas", "2", "--no-prefix-caching"),
        *("--property", "A=1,2", "--property", "B=x=y", "--allowed-host", "a.example", "--allowed-host", "b"),
    )
    assert result.exit_code == 0, result.output
    [(settings, [prepared])] = served
    assert (settings.port, settings.allowed_hosts) == (0, ["a.example", "b"])
    assert settings.models == [prepared.settings]
    assert (prepared.settings.name, prepared.settings.replicas) == ("fast", 2)
    assert prepared.settings.properties == {"A": "1,2", "B": "x=y"}
    assert prepared.settings.prefix_caching is False
    assert prepared.synthetic_tokens_per_second == 50


def test_serve_serves_the_models_of_a_file(served, tmp_path, monkeypatch):
    file = tmp_path / "nacelle.toml"
    file.write_text(
        '[[models]]\nname = "a"\nsource = "synthetic"\n[[models]]\nname = "b"\nsource = "synthetic:9"'
    )
    assert run("serve", "--config", str(file)).exit_code == 0
    monkeypatch.setenv("NACELLE_CONFIG", str(file))
    assert run("serve", "b").exit_code == 0
    assert [[model.settings.name for model in prepared] for _, prepared in served] == [["a", "b"], ["b"]]


def test_the_exit_status_of_the_server_is_that_of_the_command(monkeypatch):
    monkeypatch.setattr("frontend.app.serve", lambda *_: 1)
    monkeypatch.setattr("frontend.listening.why_not", lambda _: "")
    assert run("serve", "synthetic").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["synthetic", "--port", "abc"], "Error: --port: must be a whole number, not 'abc'"),
        (["synthetic", "--replicas", "0"], "Error: --replicas: must be a whole number >= 1, not '0'"),
        (["synthetic", "--property", "FAST"], "Error: --property: must be KEY=VALUE, not 'FAST'"),
        (
            ["synthetic", "--log-level", "loud"],
            "Error: --log-level: must be one of debug, info, warning, error, not 'loud'",
        ),
        (
            ["--store", "/absent"],
            "nothing to serve: the store has no models; name one, as in nacelle serve smollm2, or first run "
            "nacelle pull smollm2",
        ),
        (["synthetic", "--host", "0.0.0.0"], "refusing to listen on 0.0.0.0 without an API key"),
        (["synthetic", "synthetic:5"], "two models have the name 'synthetic'"),
        (["a", "b", "--name", "c"], "--name: 2 models cannot share one name"),
        (["synthetic", "--config", "/absent/nacelle.toml"], "cannot read /absent/nacelle.toml"),
        (["synthetic", "--config", "/"], "cannot read /: Is a directory"),
        (["synthetic", "--name", "a", "--name", "b"], "--name is given 2 times; give it once"),
        (["synthetic", "--no-prefix-caching", "--prefix-caching"], "is given 2 times; give it once"),
        (
            ["synthetic", "--property", "A=1", "--property", "A=2"],
            "'A' has two values, '1' and '2'; give it one",
        ),
        (["synthetic", "--allowed-host", ""], "Error: --allowed-host: must not be empty"),
        (["synthetic", "--api-key", ""], "Error: --api-key: must not be empty"),
        (["~no-such-user/m.gguf"], "names a home that does not exist"),
        (["synthetic", "--store", "~no-such-user/m"], "names a home that does not exist"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(served, arguments, complaint):
    result = run("serve", *arguments)
    assert (result.exit_code, served) == (2, [])
    assert result.stderr.startswith("Error: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["synthetic:x"], "write synthetic or synthetic:TOKENS_PER_SECOND"),
        (["smolm2"], "did you mean 'smollm2'?"),
        (["other"], "nor an existing file or folder, nor a model of the store; see nacelle list"),
        (["Qwen/Qwen3-0.6B"], "pull it first: nacelle pull Qwen/Qwen3-0.6B"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_status_1(served, arguments, complaint):
    result = run("serve", *arguments)
    assert (result.exit_code, served) == (1, [])
    assert result.stderr.startswith("Error: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_variable_is_one_line_and_status_2(served, monkeypatch):
    monkeypatch.setenv("NACELLE_PORT", "abc")
    result = run("serve", "synthetic")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: NACELLE_PORT: must be a whole number, not 'abc'\n",
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--ctx-size", "9"], "no option --ctx-size; did you mean --context-length?"),
        (["--ctx-size=9"], "no option --ctx-size; did you mean --context-length?"),
        (["-c", "9"], "no option -c; did you mean --context-length?"),
        (["--n-ctx", "9"], "no option --n-ctx; did you mean --context-length?"),
        (["--max-model-len", "9"], "no option --max-model-len; did you mean --context-length?"),
        (["--context", "9"], "no option --context; did you mean --context-length?"),
        (["--n-gpu-layers", "9"], "no option --n-gpu-layers; did you mean --device GPU?"),
        (["-ngl", "9"], "no option -ngl; did you mean --device GPU?"),
        (["--parallel", "9"], "no option --parallel; did you mean --max-num-seqs?"),
        (["-np", "9"], "no option -np; did you mean --max-num-seqs?"),
        (["-t", "9"], "no option -t; did you mean --threads?"),
        (["--alias", "x"], "no option --alias; did you mean --name?"),
        (["--served-model-name", "x"], "no option --served-model-name; did you mean --name?"),
        (["--cache-type-k", "q8_0"], "no option --cache-type-k; did you mean --kv-cache-precision?"),
        (["--kv-cache-dtype", "f16"], "no option --kv-cache-dtype; did you mean --kv-cache-precision?"),
        (["--tool-call-parser", "x"], "no option --tool-call-parser; did you mean --tool-format?"),
        (["--enable-prefix-caching"], "no option --enable-prefix-caching; did you mean --prefix-caching?"),
        (
            ["--no-enable-prefix-caching"],
            "no option --no-enable-prefix-caching; did you mean --no-prefix-caching?",
        ),
        (["--temp", "0"], "no option --temp; did you mean --generation-default temperature=VALUE?"),
        (["-n", "5"], "no option -n; see nacelle serve --help"),
        (["--embedding"], "no option --embedding; did you mean --task embeddings?"),
        (["--model", "x"], "no option --model; write the model without one: nacelle serve MODEL"),
        (["-m", "x"], "no option -m; write the model without one: nacelle serve MODEL"),
        (["--flash-attn"], "no option --flash-attn; it is not needed here, leave it out"),
        (["--prot", "1"], "no option --prot; did you mean --port?"),
        (["--frobnicate"], "no option --frobnicate; see nacelle serve --help"),
        (["--port"], "option '--port' requires an argument\nTry: nacelle serve --help"),
    ],
)
def test_an_unknown_option_leads_to_ours(served, arguments, error):
    result = run("serve", "synthetic", *arguments)
    assert (result.exit_code, served) == (2, [])
    assert result.stderr == f"Error: {error}\n"


def test_every_option_that_is_suggested_exists():
    known = {setting.name for struct in (Settings, ModelSettings) for setting in settings_of(struct)}
    for word in " ".join(_ELSEWHERE.values()).split():
        assert guess(word, known).setting in known
    assert _ELSEWHERE.keys() <= known


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["serv"], "no such command 'serv'"),
        (["--foo"], "no option --foo; see nacelle --help"),
        (["pull"], "missing argument 'SOURCE...'\nTry: nacelle pull --help"),
        (["list", "a"], "got unexpected extra argument (a)\nTry: nacelle list --help"),
        (["list", "--store", "a", "--store", "b"], "--store is given 2 times; give it once"),
        (["bench", "ipc", "--rounds", "1", "--rounds", "2"], "--rounds is given 2 times; give it once"),
        (
            ["bench", "ipc", "--rounds"],
            "option '--rounds' requires an argument\nTry: nacelle bench ipc --help",
        ),
        (["bench", "ipc", "--rouns", "1"], "no option --rouns; did you mean --rounds?"),
    ],
)
def test_wrong_usage_of_other_commands_is_short_too(arguments, error):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {error}")
    assert result.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps", "--url", LONG),
        ("ps", "--url", f"tcp://{LONG}"),
        ("load", "m", "--keep-alive", LONG),
        ("launch", LONG),
        ("run", "m", "hi", "--seed", LONG),
        ("launch", "codex", "--model", "\udcff", "--url", "http://127.0.0.1:1"),
    ],
)
def test_a_wrong_word_of_any_length_is_answered_in_three_lines(arguments):
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert len(result.stderr) <= 3 * 80


def test_more_lines_of_the_log_than_a_machine_can_count_are_all():
    assert list(last(iter("ab"), 10**50)) == ["a", "b"]


def test_without_a_command_there_is_help():
    result = run()
    assert result.exit_code == 2
    assert "Usage: nacelle" in result.stderr + result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_help_explains_the_exit_status(arguments):
    text = " ".join(run(*arguments).output.split())
    assert " ".join(EXIT_STATUS.split()) in text


def test_a_slip_in_a_variables_name_is_a_warning(served, monkeypatch, capfd):
    monkeypatch.setenv("NACELLE_PROT", "1")
    monkeypatch.setenv("NACELLE_PORT", "tcp://10.3.2.1:8000")
    assert run("serve", "synthetic").exit_code == 0
    [(settings, _)] = served
    assert settings.port == 8000
    listed = run("list")
    warning = "ignored NACELLE_PROT, which is not a setting; did you mean NACELLE_PORT?"
    assert listed.stderr == f"Warning: {warning}\n"


def test_notes_on_the_environment_are_log_lines():
    environment = {
        **os.environ,
        "NACELLE_PROT": "1",
        "NACELLE_PORT": "tcp://10.3.2.1:8000",
        "NACELLE_LOG_FORMAT": "json",
    }
    command = [*nacelle_command(), "serve", "synthetic", "--host", "192.0.2.1", "--api-key", "x"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    kubernetes, slip, end = (json.loads(line) for line in result.stderr.splitlines())
    assert result.returncode == 1
    assert (kubernetes["level"], slip["level"], end["level"]) == ("info", "warning", "error")
    assert "NACELLE_PORT=tcp://10.3.2.1:8000" in kubernetes["message"]
    assert "NACELLE_PROT" in slip["message"]
    assert end["message"].startswith("cannot listen on 192.0.2.1 port 8000: ")
    assert end["message"].endswith("; choose an address of this machine with --host")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), "with --port"),
        (OSError(errno.EACCES, "Permission denied"), "choose a port from 1024 on with --port"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "with --host"),
        (socket.gaierror(-2, "Name or service not known"), "with --host"),
        (UnicodeError("label too long"), "with --host"),
    ],
)
def test_a_port_that_cannot_be_had_names_the_option(error, remedy):
    line = explain_listening("h", 80, error)
    assert line.startswith("cannot listen on h port 80: ")
    assert line.endswith(remedy)


def test_a_port_in_use_is_told_before_models_are_prepared():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(root, ["serve", "./no-such.gguf", "--port", port])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in result.output


def test_a_defect_is_not_dressed_up_as_a_users_error(monkeypatch):
    def fail(*_):
        raise RuntimeError("defect")

    monkeypatch.setattr("frontend.app.serve", fail)
    monkeypatch.setattr("frontend.listening.why_not", lambda _: "")
    assert isinstance(run("serve", "synthetic").exception, RuntimeError)
    assert not issubclass(RuntimeError, ConfigError)


# --- list and pull ----------------------------------------------------------------------------------------


def test_list_shows_the_catalogue_of_an_empty_store(empty_store):
    result = run("list")
    assert result.exit_code == 0
    headings, smollm2, *_, where = result.output.splitlines()
    assert headings.split() == ["NAME", "STATE", "SIZE", "DESCRIPTION"]
    assert " ".join(smollm2.split()).startswith("smollm2 not pulled 98 MB SmolLM2 135M Instruct")
    assert where == f"Store: {empty_store}"
    assert not empty_store.exists()


def test_list_keeps_words_whole_in_every_width(monkeypatch):
    words = run("list").output.split()
    for columns in (60, 80, 132):
        monkeypatch.setenv("COLUMNS", str(columns))
        table, _, where = run("list").output.partition("\n\n")
        assert f"{table} {where}".split() == words
        assert max(map(len, table.splitlines())) <= columns


def test_pull_of_an_unknown_name_is_one_line_and_status_1():
    result = run("pull", "smolm2")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the catalogue has no 'smolm2'; did you mean 'smollm2'? "
        "ORG/NAME of a model hub, a URL, or a local file or folder can be pulled, too\n"
    )
    names = "smollm2, minilm, e5, whisper, whisper-tiny-en, kokoro"
    assert run("pull", "other").stderr.startswith(
        f"Error: the catalogue has no 'other'; it has {names}; ORG/NAME of"
    )
    assert "must not be empty" in run("pull", "").stderr


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "")],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupted_pull_leaves_no_file_and_no_process(empty_store, monkeypatch, number, status, word):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        command = [*nacelle_command(), "pull", "smollm2"]
        # Where a shell runs the tests in the background, SIGINT is ignored, and that would be inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as nacelle:
            process = psutil.Process(nacelle.pid)
            pip = wait_for(process.children, "pip runs")
            silent.settimeout(30)
            with silent.accept()[0]:  # pip asks: it is well on its way
                nacelle.send_signal(number)
                _, errors = nacelle.communicate(timeout=30)
    assert nacelle.returncode == status
    assert word in errors
    assert "Traceback" not in errors
    assert not list(empty_store.glob("*/*/*"))
    wait_for(lambda: not any(is_alive(child.pid) for child in pip), "pip ends")


def test_pull_and_list_agree_on_a_model_that_is_there(smollm2_ir: Path, monkeypatch):
    monkeypatch.setenv("NACELLE_STORE", str(smollm2_ir.parents[2]))
    assert run("pull", "smollm2").output == f"{smollm2_ir}\n"
    assert re.search(r"^smollm2 +ready ", run("list").output, re.MULTILINE)


_LONG = "k" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", f"--{_LONG}"],
        ["serve", f"-{_LONG}"],
        ["serve", "synthetic", f"--{_LONG}=1"],
        ["serve", "synthetic", "--config", f"/{_LONG}"],
        ["serve", "synthetic", "--engine", _LONG],
        ["serve", "synthetic", "--tool-format", _LONG],
        ["serve", "synthetic", "--adapter", f"{_LONG}*=x"],
        ["serve", "synthetic", "--adapter", f"x={_LONG}:1.2.3"],
        ["serve", "synthetic", "--generation-default", f"{_LONG}=1"],
        ["serve", f"synthetic:{_LONG}"],
        ["serve", _LONG],
        ["pull", _LONG],
        [f"--{_LONG}"],
        [_LONG],
        ["k " * 2500],
        ["list", _LONG],
        ["list", "--store", _LONG],
    ],
)
def test_what_is_quoted_of_a_command_line_is_short(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("Error: ")
    assert "k…" in result.stderr or "k …" in result.stderr
    assert len(result.stderr) <= 320


@pytest.mark.parametrize(
    "content",
    [
        f"{_LONG} = 1",
        f"[{_LONG}]",
        f"[server]\n{_LONG} = 1",
        f"[server]\n'{'k ' * 2500}' = 1",
        f"[[models]]\nsource = 'synthetic'\n{_LONG} = 1",
        f"[[models]]\nsource = 'synthetic'\n[models.generation_defaults]\n{_LONG} = 1",
        f"[[models]]\nsource = 'synthetic'\n[models.adapters]\n'{_LONG}*' = 'x'",
    ],
)
def test_what_is_quoted_of_a_settings_file_is_short(content, tmp_path):
    file = tmp_path / "nacelle.toml"
    file.write_text(content)
    result = run("serve", "--config", str(file))
    assert result.exit_code == 2
    assert "k…'" in result.stderr or "k …'" in result.stderr
    assert len(result.stderr) <= 3 * 80 + len(str(file))


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_a_number_that_is_not_finite_is_quoted_as_it_is(value, tmp_path):
    file = tmp_path / "nacelle.toml"
    file.write_text(f"[server]\nstall_seconds = {value}\n")
    assert run("serve", "--config", str(file)).stderr.endswith(f", not {value}\n")


def test_a_session_store_that_cannot_be_opened_is_one_line_and_status_2(tmp_path):
    result = run("serve", "synthetic", "--session-store", f"sqlite:{tmp_path}")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: session_store: cannot use {shown_path(tmp_path)}: it is a folder; choose another file with "
        "--session-store\n"
    )
