"""Tables of models, durations, log lines, addresses and background servers, without a server."""

import os
import subprocess
import sys
import threading

import click
import pytest

from frontend.cli.address import find_server
from frontend.cli.background import Background, start_time, wait_until
from frontend.cli.durations import parse_duration, shown_duration
from frontend.cli.logs import about
from frontend.cli.ps import rows
from frontend.cli.tables import aligned
from frontend.cli.usage import WrongUsage
from frontend.config_sources import is_path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("45", 45),
        ("1.5s", 1.5),
        ("-1", -1),
        ("-1m", -60),
        ("0", 0),
        ("2d", 172_800),
        ("forever", -1),
        ("ten", None),
        ("10 m", None),
        ("", None),
        ("m", None),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (59.6, "1m"), (250, "4m 10s"), (5400, "1h 30m"), (90_000, "1d 1h")],
)
def test_durations_are_shown_in_two_units(seconds, text):
    assert shown_duration(seconds) == text


STATUS = {
    "name": "smollm2",
    "task": "text",
    "device": "CPU",
    "state": "ready",
    "memory_bytes": 312_000_000,
    "context_length": 8192,
    "running": 1,
    "queued": 2,
    "pinned": False,
    "expires_at": 1250.0,
    "reason": None,
}


def test_a_model_in_memory_is_a_row():
    assert rows([STATUS], 1000.0) == [
        ("smollm2", "text", "CPU", "ready", "312 MB", "8192", "1", "2", "4m 10s from now")
    ]


def test_tasks_have_the_names_of_the_option():
    vectors = STATUS | {"task": "vectors", "engine": "embeddings"}
    stateful = STATUS | {"task": "text", "engine": "stateful"}
    assert [row[1] for row in rows([vectors, stateful], 0.0)] == ["embeddings", "text"]


@pytest.mark.parametrize(
    ("change", "until"),
    [
        ({"pinned": True}, "pinned"),
        ({"expires_at": None}, "indefinitely"),
        ({"state": "unloaded"}, "-"),
        ({"state": "failed"}, "-"),
    ],
)
def test_until_when_a_model_stays(change, until):
    assert rows([STATUS | change], 1000.0)[0][-1] == until


def test_columns_are_aligned_and_lines_cut_to_the_terminal():
    assert aligned([("A", "BB"), ("aaa", "1")], right=[1]) == ["A    BB", "aaa   1"]
    assert aligned([("name", "a long text")], width=10) == ["name  a l…"]


LOG = """\
12:00:00 INFO    nacelle smollm2/0 is ready
12:00:01 INFO    nacelle smollm2-long/0 is ready
12:00:02 ERROR   nacelle smollm2/0 failed
Traceback (most recent call last):
  File "x"
12:00:03 POST /v1/chat/completions 200 1.00s e5 5+3
{"time": 1, "message": "loaded", "model": "smollm2"}
""".splitlines(keepends=True)


def test_the_lines_about_a_model_include_what_continues_them():
    assert list(about(LOG, "smollm2")) == [LOG[0], LOG[2], LOG[3], LOG[4], LOG[6]]
    assert list(about(LOG, None)) == LOG


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, None, "http://127.0.0.1:8000"),
        ({"NACELLE_PORT": "9001"}, None, "http://127.0.0.1:9001"),
        ({"NACELLE_HOST": "0.0.0.0", "NACELLE_ALLOW_UNAUTHENTICATED": "1"}, None, "http://127.0.0.1:8000"),
        ({"NACELLE_HOST": "::"}, None, "http://[::1]:8000"),
        ({"NACELLE_URL": "http://a:1/v1/"}, None, "http://a:1"),
        ({"NACELLE_URL": "http://a:1"}, "b:2", "http://b:2"),
        ({}, "https://x.example/nacelle/v1", "https://x.example:443/nacelle"),
        ({}, "x.example", "http://x.example:8000"),
        ({}, "[::1]:9", "http://[::1]:9"),
    ],
)
def test_the_server_is_found(environ, url, expected):
    assert find_server(url, None, environ).url == expected


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:b", "http://a:99999", "::::"])
def test_a_wrong_url_is_refused(url):
    with pytest.raises(WrongUsage, match=r"--url: must be a URL such as http://127.0.0.1:8000"):
        find_server(url, None, {})


def test_a_named_server_is_not_ours_to_start():
    assert not find_server(None, None, {}).named
    assert find_server(None, None, {"NACELLE_URL": "a"}).named


def test_a_slip_in_the_name_of_the_variable_is_no_slip(capsys):
    find_server(None, None, {"NACELLE_URL": "a"})
    assert capsys.readouterr().err == ""


def test_paths_are_told_from_names():
    assert is_path("./m")
    assert is_path("/m")
    assert is_path("~/m")
    assert is_path("m.gguf")
    assert not is_path("smollm2")
    assert not is_path("org/model")
    assert not is_path("https://x.example/m.gguf")


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_background_server_is_remembered_while_it_runs(tmp_path, monkeypatch):
    background = Background(1234, tmp_path)
    monkeypatch.setattr(
        "frontend.cli.background._COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    with background.starting():
        process = background.start(["serve", "m"], "http://x")
    try:
        record = background.find()
        assert record is not None
        assert (record.pid, record.url, record.command[-2:]) == (process.pid, "http://x", ["serve", "m"])
        assert oct(background.log.stat().st_mode & 0o777) == "0o600"
        waiter = wait_in_background(process)
        assert background.stop(record, 30)
        waiter.join()
        assert background.find() is None
    finally:
        process.kill()
        process.wait()


def wait_in_background(process):
    """Collect the process once it ends, as init would: it is our child here."""
    thread = threading.Thread(target=process.wait)
    thread.start()
    return thread


def test_another_process_with_the_same_pid_is_not_the_server(tmp_path, sleeper):
    background = Background(1234, tmp_path)
    folder = tmp_path / "servers"
    folder.mkdir()
    started = start_time(sleeper.pid)
    for start, is_it in ((started, True), ((started or 0) + 1, False)):
        (folder / "1234.json").write_text(
            f'{{"pid": {sleeper.pid}, "started": {start}, "url": "u", "log": "l", "command": []}}'
        )
        assert (background.find() is not None) is is_it


def test_a_process_that_ended_does_not_run():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    assert wait_until(lambda: start_time(process.pid) is None, 30)  # a zombie does not run either
    process.wait()
    assert start_time(os.getpid()) is not None


def test_a_wait_has_a_deadline():
    assert not wait_until(lambda: False, 0.0)


def test_a_port_that_is_chosen_by_the_system_is_unknown():
    with pytest.raises(click.ClickException, match="pass --url URL"):
        find_server(None, None, {"NACELLE_PORT": "0"})


@pytest.mark.parametrize(
    "arguments",
    ["ps", "config", "launch", "stop m", "load m", "logs", "run m hi", "completion bash"],
)
def test_commands_that_must_start_quickly_import_little(arguments, tmp_path):
    """Nobody answers at the address, which all of them ask last."""
    code = "import sys, frontend.cli\ntry: frontend.cli.main()\nfinally: print('MODULES', *sys.modules)"
    environment = {"NACELLE_URL": "http://127.0.0.1:9", "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, *arguments.split()]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=os.environ | environment
    )
    modules = set(result.stdout.partition("MODULES")[2].split())
    assert "click" in modules  # or the check below looked at nothing
    slow = {"rich", "asyncio", "falcon", "uvicorn", "zmq", "openvino", "bench", "numpy", "aiohttp", "httpx"}
    assert not {name.partition(".")[0] for name in modules} & slow
    if arguments == "run m hi":
        ours = ("loading", "background", "running.session", "running.attachments", "running.slash")
        unneeded = {"click.shell_completion", "subprocess", *(f"frontend.cli.{name}" for name in ours)}
        assert not modules & unneeded
