"""Claude Code, configured by `nacelle launch`, completes a tool loop against a model that plays its part."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.server import nacelle_command
from tests.e2e.serving import Serving
from tests.models.scripted import scripted_model
from tests.models.templates import chat_template

pytestmark = pytest.mark.clients

SECRET = "zanzibar"
CALL = '<tool_call>\n{"name": "Read", "arguments": {"file_path": "secret.txt"}}\n</tool_call>'
THOUGHT = "<think>\nThe file must say it.\n</think>\n\n"
ANSWER = f"The secret word is {SECRET}."


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    model = scripted_model({"": f"{THOUGHT}I look.\n{CALL}", SECRET: ANSWER}, chat_template("qwen3"))
    with Serving([str(model), "--name", "scripted"], ["--kv-cache-gib", "0.5"], {}) as serving:
        yield serving.wait_until_ready("scripted")


@pytest.mark.parametrize("model", ["scripted", "claude-opus-4-8"])
def test_claude_code_reads_a_file_and_answers(server: Serving, tmp_path: Path, model: str) -> None:
    program = shutil.which("claude")
    assert program is not None, "install it: npm install -g @anthropic-ai/claude-code"
    if model != "scripted":
        alias = {"alias": model, "model": "scripted"}
        assert server.http.post("/admin/alias", json=alias).status_code == 200
    (tmp_path / "secret.txt").write_text(f"{SECRET}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "NACELLE_URL": server.base_url,
        "DISABLE_AUTOUPDATER": "1",
    }
    configure = [*nacelle_command(), "launch", "claude", "--model", model, "--yes"]
    subprocess.run(configure, env=environment, check=True, capture_output=True, timeout=60)
    settings = tmp_path / "home" / ".config" / "nacelle" / "claude.json"
    ended = subprocess.run(
        [program, "--settings", settings, "--output-format", "json", "-p", "What is the secret word?"],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    result = json.loads(ended.stdout)
    assert result["result"] == ANSWER
    assert result["num_turns"] == 2
    assert result["usage"]["cache_read_input_tokens"] > 1000  # the second turn goes on from the first
