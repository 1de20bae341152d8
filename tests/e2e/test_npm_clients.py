"""Clients from npm complete a tool loop against a model that plays its part.

A loop is complete when the tool has run as the model says and the model has seen its result: the answer is
written only after the secret word, which only the tool knows. Agents are configured by `nacelle launch` and
started as it says, with a key.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.server import nacelle_command
from tests.e2e.serving import Serving
from tests.models.packages import install_npm
from tests.models.scripted import scripted_model
from tests.models.templates import chat_template

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]  # with the packages, which are 1 GB

PACKAGES = [
    "@anthropic-ai/claude-code@2.1.197",
    "@openai/codex@0.171.0",
    "openai@6.49.0",
    "opencode-ai@1.18.33",
]
_SECONDS = 120.0  # for one run; a model that never sees the secret calls for ever
HERE = Path(__file__).parent / "npm"
KEY = "a-key"
SECRET = "zanzibar"
THOUGHT = "The tool must know it."
ANSWER = f"The secret word is {SECRET}."
DRAWER = {"drawer": "north"}
# The word in a question that makes the model call → the tool's name for the model, and the arguments.
CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "ask-claude": ("Read", {"file_path": "secret.txt"}),
    "ask-codex-mcp": ("mcp__vault__reveal", DRAWER),
    "ask-codex-shell": ("exec_command", {"cmd": "cat secret.txt"}),
    "ask-opencode-mcp": ("vault_reveal", DRAWER),
    "ask-opencode-file": ("read", {"filePath": "secret.txt"}),
    "ask-openai": ("reveal", DRAWER),
}


def _script(name: str, arguments: dict[str, str]) -> str:
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<think>\n{THOUGHT}\n</think>\n\nI look.\n<tool_call>\n{call}\n</tool_call>"


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    scripts = {word: _script(*call) for word, call in CALLS.items()}
    model = scripted_model({"": "Hello.", **scripts, SECRET: ANSWER}, chat_template("qwen3"))
    arguments = ["--name", "scripted", "--kv-cache-gib", "0.5"]
    with Serving([str(model)], arguments, {"NACELLE_API_KEY": KEY}) as serving:
        serving.http.headers["Authorization"] = f"Bearer {KEY}"
        yield serving.wait_until_ready("scripted")


@pytest.fixture(scope="module")
def modules() -> Path:
    assert shutil.which("node") is not None, "install Node.js 20 or newer"
    return install_npm(PACKAGES) / "node_modules"


@pytest.fixture
def environment(server: Serving, modules: Path, tmp_path: Path) -> dict[str, str]:
    """Of a user who has nothing but the packages, in a folder with a secret."""
    (tmp_path / "secret.txt").write_text(f"{SECRET}\n")
    return {
        "PATH": f"{modules / '.bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "NACELLE_URL": server.base_url,
        "NACELLE_API_KEY": KEY,
        "DISABLE_AUTOUPDATER": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }


def _run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    """What the command prints."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=_SECONDS)
    finally:  # programs from npm are started by others, and outlive those
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{shlex.join(command)}:\n{output}{errors}"
    return output


def _ask(agent: str, arguments: list[str], environment: dict[str, str], model: str = "scripted") -> str:
    """What an agent prints that is started as `nacelle launch` says, with further arguments."""
    folder = Path(environment["HOME"]).parent
    launched = _run([*nacelle_command(), "launch", agent, "--model", model, "--yes"], environment, folder)
    [start] = [line for line in launched.splitlines() if line.startswith("Start it: ")]
    line = f"{start.removeprefix('Start it: ')} {shlex.join(arguments)}"
    return _run(["sh", "-c", line], environment, folder)


def _question(word: str) -> str:
    return f"What is the secret word? {word}"


def _vault(folder: Path) -> tuple[list[str], Path]:
    """The command of an MCP server, and the file of its calls."""
    calls = folder / "calls"
    return [sys.executable, str(HERE / "vault.py"), SECRET, str(calls)], calls


def _calls(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


# --- agents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["scripted", "claude-opus-4-8"])
def test_claude_code_reads_a_file(server: Serving, environment: dict[str, str], model: str) -> None:
    if model != "scripted":
        alias = {"alias": model, "model": "scripted"}
        assert server.http.post("/admin/alias", json=alias).status_code == 200
    asked = ["--output-format", "json", "-p", _question("ask-claude")]
    result = json.loads(_ask("claude", asked, environment, model))
    assert result["result"] == ANSWER
    assert result["num_turns"] == 2
    assert result["usage"]["cache_read_input_tokens"] > 1000  # the second turn goes on from the first


def _codex(word: str, environment: dict[str, str]) -> list[dict[str, Any]]:
    """The finished items of a run."""
    asked = ["exec", "--skip-git-repo-check", "--json", "--sandbox", "danger-full-access", _question(word)]
    events = [json.loads(line) for line in _ask("codex", asked, environment).splitlines()]
    assert events[-1]["type"] == "turn.completed"
    return [event["item"] for event in events if event["type"] == "item.completed"]


def test_codex_calls_a_tool_of_an_mcp_server(environment: dict[str, str], tmp_path: Path) -> None:
    [program, *arguments], calls = _vault(tmp_path)
    config = tmp_path / "home" / ".codex" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "[mcp_servers.vault]\n"
        f"command = {json.dumps(program)}\n"
        f"args = {json.dumps(arguments)}\n"
        'default_tools_approval_mode = "approve"\n'
    )
    items = _codex("ask-codex-mcp", environment)
    assert _calls(calls) == [["reveal", DRAWER]]
    [call] = [item for item in items if item["type"] == "mcp_tool_call"]
    assert (call["server"], call["tool"], call["status"]) == ("vault", "reveal", "completed")
    assert [item["text"] for item in items if item["type"] == "reasoning"] == [THOUGHT]
    assert [item["text"] for item in items if item["type"] == "agent_message"] == ["I look.", ANSWER]


def test_codex_runs_a_command(environment: dict[str, str]) -> None:
    items = _codex("ask-codex-shell", environment)
    [call] = [item for item in items if item["type"] == "command_execution"]
    assert "cat secret.txt" in call["command"]
    assert (call["aggregated_output"], call["exit_code"]) == (f"{SECRET}\n", 0)
    assert items[-1]["text"] == ANSWER


def _opencode(word: str, environment: dict[str, str]) -> tuple[list[Any], list[str]]:
    """The calls, as name, arguments and status, and the texts of a run."""
    asked = ["run", "--thinking", "--format", "json", _question(word)]
    events = [json.loads(line) for line in _ask("opencode", asked, environment).splitlines()]
    parts = [event["part"] for event in events if event["type"] in ("tool_use", "text", "reasoning")]
    calls = [
        [part["tool"], part["state"]["input"], part["state"]["status"]]
        for part in parts
        if part["type"] == "tool"
    ]
    return calls, [part["text"] for part in parts if part["type"] != "tool"]


def test_opencode_reads_a_file(environment: dict[str, str]) -> None:
    calls, texts = _opencode("ask-opencode-file", environment)
    assert calls == [[*CALLS["ask-opencode-file"], "completed"]]
    assert texts == [THOUGHT, "I look.", ANSWER]


def test_opencode_calls_a_tool_of_an_mcp_server(environment: dict[str, str], tmp_path: Path) -> None:
    command, file = _vault(tmp_path)
    config = {"mcp": {"vault": {"type": "local", "command": command}}}
    (tmp_path / "opencode.json").write_text(json.dumps(config))
    calls, texts = _opencode("ask-opencode-mcp", environment)
    assert _calls(file) == [["reveal", DRAWER]]
    assert calls == [[*CALLS["ask-opencode-mcp"], "completed"]]
    assert texts[-1] == ANSWER


# --- the package openai -------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "chat-stream", "responses", "responses-stream"])
def test_the_package_openai_runs_a_tool(
    server: Serving, modules: Path, environment: dict[str, str], tmp_path: Path, api: str
) -> None:
    (tmp_path / "node_modules").symlink_to(modules)
    script = shutil.copy(HERE / "tool_loops.mjs", tmp_path)
    asked = [api, f"{server.base_url}/v1", KEY, "scripted", _question("ask-openai"), SECRET]
    result = json.loads(_run(["node", str(script), *asked], environment, tmp_path))
    assert result["called"] == [DRAWER]
    assert result["answer"] == ANSWER
    assert result["streamed"] == (f"I look.{ANSWER}" if api.endswith("-stream") else "")
