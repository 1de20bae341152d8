"""`nacelle run` in a terminal and in a pipe, with a real server and a real model."""

import json
import os
import signal
import subprocess

import pytest

from bench.server import free_port, nacelle_command
from tests.e2e.serving import wait_for
from tests.e2e.terminal import CTRL_C, CTRL_D, Terminal

PROMPT = ">>> "
LONG = "Count from one to one thousand in words."


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def environment(server, state):
    return {"NACELLE_URL": server.base_url, "XDG_STATE_HOME": str(state)}


def nacelle(environment, *arguments, given=""):
    return subprocess.run(
        [*nacelle_command(), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )


def answer_to(server, messages, tokens):
    body = {"model": "smollm2", "messages": messages, "temperature": 0, "max_tokens": tokens}
    choice = server.http.post("/v1/chat/completions", json=body).json()["choices"][0]
    return choice["message"]["content"]


def user(text):
    return {"role": "user", "content": text}


def test_a_conversation_in_a_terminal(server, environment, state):
    """Answers stream, earlier turns are sent along, Ctrl-C ends an answer and not the program."""
    command = [*nacelle_command(), "run", "smollm2", "--temperature", "0", "--max-tokens", "8"]
    with Terminal(command, environment) as terminal:
        terminal.read_until(PROMPT)
        terminal.enter("Name a colour.")
        first = terminal.read_until(PROMPT)
        terminal.enter("Name another.")
        second = terminal.read_until(PROMPT)

        history = [user("Name a colour.")]
        history.append({"role": "assistant", "content": answer_to(server, history, 8)})
        assert history[-1]["content"].strip() in first
        assert answer_to(server, [*history, user("Name another.")], 8).strip() in second

        terminal.enter("/set max_tokens 2000")
        terminal.read_until(PROMPT)
        terminal.enter(f"{LONG} Begin now")
        terminal.read_until("now\r\n")
        wait_for(lambda: server.running() == 1, "the answer is generated")
        begun = terminal.read_until(" ")  # it streams: something is shown while the engine still works
        assert begun
        assert server.running() == 1
        terminal.send(CTRL_C)
        terminal.read_until("stopped")
        wait_for(lambda: server.running() == 0, "the engine stops")

        terminal.read_until(PROMPT)
        terminal.send(CTRL_C)
        terminal.read_until("Ctrl-C again, Ctrl-D or /bye leaves.")
        terminal.read_until(PROMPT)
        terminal.enter("/set max_tokens 8")
        terminal.read_until(PROMPT)
        terminal.enter("/clear")
        terminal.read_until(PROMPT)
        terminal.enter('"""two')
        terminal.read_until("... ")
        terminal.enter('lines"""')
        terminal.read_until(PROMPT)
        terminal.enter("/show")
        assert "turns        1" in terminal.read_until(PROMPT)
        terminal.send(CTRL_D)
        assert terminal.wait() == 0
    typed = (state / "nacelle" / "history").read_text()
    assert typed.startswith("Name a colour.\nName another.\n")


def test_ctrl_c_twice_leaves(environment):
    with Terminal([*nacelle_command(), "run", "smollm2"], environment) as terminal:
        terminal.read_until(PROMPT)
        terminal.send(CTRL_C)
        try:
            terminal.read_until("leaves.", 10)
        except AssertionError:  # between the prompt and the wait for input, Python only notes a signal
            terminal.send(CTRL_C)
            terminal.read_until("leaves.")
        terminal.read_until(PROMPT)
        terminal.send(CTRL_C)
        try:
            status = terminal.wait(10)
        except subprocess.TimeoutExpired:  # as above
            terminal.send(CTRL_C)
            status = terminal.wait()
        assert status == 0


def test_piped_text_follows_the_prompt(server, environment):
    text = "The cat sat on the mat."
    result = nacelle(environment, "run", "smollm2", "Summarize:", "--temperature", "0", "--json", given=text)
    assert result.returncode == 0, result.stderr
    body = json.loads(result.stdout)
    assert body["text"] == answer_to(server, [user(f"Summarize:\n\n{text}")], None)
    assert body["finish_reason"] == "stop"
    assert body["usage"]["completion_tokens"] > 0


def test_an_answer_for_a_pipe_is_text_alone(server, environment, tmp_path):
    (tmp_path / "a.txt").write_text("One apple.")
    result = nacelle(
        environment,
        *("run", "smollm2", "What fruit?", "-f", str(tmp_path / "a.txt"), "--temperature", "0"),
        *("--max-tokens", "5", "--system", "Be brief."),
    )
    messages = [
        {"role": "system", "content": "Be brief."},
        user("a.txt:\n```\nOne apple.\n```\n\nWhat fruit?"),
    ]
    assert result.stdout == answer_to(server, messages, 5).strip("\n") + "\n"
    assert result.stderr == ""


def test_an_interrupted_answer_has_status_130_and_ends_in_the_engine(server, environment):
    command = [*nacelle_command(), "run", "smollm2", LONG, "--max-tokens", "2000"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    wait_for(lambda: server.running() == 1, "the answer is generated")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.communicate()
    wait_for(lambda: server.running() == 0, "the engine stops")


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["run", "smollm2"], 2, 'nothing to ask; write a prompt: nacelle run smollm2 "PROMPT"'),
        (["run", "smollm2", "hi", "--temperature", "9"], 2, "--temperature: must be a number from 0 to 2"),
        (["run", "smollm2", "hi", "-f", "/absent"], 2, "cannot read /absent: No such file or directory"),
        (
            ["run", "smollm2", "hi", "--url", "http://127.0.0.1:9"],
            1,
            "no server answers at http://127.0.0.1:9",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(environment, arguments, status, complaint):
    result = nacelle(environment, *arguments)
    assert (result.returncode, result.stdout) == (status, "")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_a_server_one_is_started_in_the_background_and_stopped(tmp_path):
    """The synthetic engine is a real host process; what it says is not looked at."""
    environment = {
        "NACELLE_PORT": str(free_port()),
        "XDG_STATE_HOME": str(tmp_path),
        "NACELLE_DRAIN_SECONDS": "1",
    }
    try:
        first = nacelle(environment, "run", "synthetic:1000", "hi", "--max-tokens", "3")
        assert first.returncode == 0, first.stderr
        assert first.stdout.strip()
        assert "nacelle stop --server ends it" in first.stderr
        again = nacelle(environment, "run", "synthetic:1000", "hi", "--max-tokens", "3")
        assert (again.returncode, again.stderr) == (0, "")
        [model] = json.loads(nacelle(environment, "ps", "--json").stdout)
        assert (model["name"], model["state"], model["running"]) == ("synthetic", "ready", 0)
        assert nacelle(environment, "unload", "synthetic").stdout == "synthetic is unloaded\n"
        assert json.loads(nacelle(environment, "ps", "--json").stdout) == []
        loaded = nacelle(environment, "load", "synthetic", "--keep-alive", "10m")
        assert loaded.stdout.startswith("synthetic is loaded (")
        assert nacelle(environment, "ps").stdout.splitlines()[1].endswith(" from now")
        assert nacelle(environment, "load", "nosuch").returncode == 1
        nacelle(environment, "run", "synthetic:1000", "hi", "--max-tokens", "3")
        log = nacelle(environment, "logs", "synthetic", "-n", "1")
        assert "POST /v1/chat/completions 200" in log.stdout
    finally:
        stopped = nacelle(environment, "stop", "--server")
    assert stopped.returncode == 0, stopped.stderr
    gone = nacelle(environment, "stop", "--server")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)
    assert "no server runs at" in gone.stderr


def test_a_running_server_fetches_and_loads_a_model_that_it_lacks(environment, minilm_ir):
    """Not again what the store has: the fixture has seen to that."""
    result = nacelle(environment, "run", "minilm", "hi")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)) == 384  # its vector
    assert nacelle(environment, "ps").stdout.splitlines()[-1].startswith("minilm ")
    assert nacelle(environment, "unload", "minilm").returncode == 0


def test_a_running_server_does_not_read_files_of_clients(environment, tmp_path):
    (tmp_path / "m.gguf").touch()
    result = nacelle(environment, "run", str(tmp_path / "m.gguf"), "hi")
    assert result.returncode == 1
    assert "cannot read files of clients; write nacelle pull" in result.stderr
