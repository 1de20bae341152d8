"""schemathesis against /openapi.json: statuses, content types and bodies are as it states; none is a 5xx."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.serving import Serving

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# WebSockets, streams without an end, downloads from other servers, and what would end the model's host.
_ADMIN = "admin/(events|downloads|models/unload|reload|hosts/.+/.+/.+)"
LEFT_OUT = rf"^/(internal/|v1/realtime|{_ADMIN}|api/(pull|delete))"
# Not `coverage`, which sends hundreds of wrong values to each operation, for a quarter of an hour.
PHASES = "examples,fuzzing"
REQUESTS = 10  # per operation and phase, at most
SECONDS = 900


@pytest.mark.schemathesis
@pytest.mark.timeout(SECONDS + 60)
def test_answers_are_as_the_document_states(qwen3_ir: Path, tmp_path: Path):
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None, "pip install schemathesis"
    models = [str(qwen3_ir), "--name", "smollm2"]
    with Serving(models, ["--kv-cache-gib", "0.25"], {"HF_HUB_OFFLINE": "1"}) as server:
        server.wait_until_ready("smollm2")
        run = subprocess.run(
            [
                program,
                *("run", f"{server.base_url}/openapi.json", "--phases", PHASES),
                *("--checks", CHECKS, "--exclude-path-regex", LEFT_OUT, "--seed", "1"),
                *("-n", str(REQUESTS), "--continue-on-failure", "--warnings", "off", "--no-shrink"),
                *("--request-timeout", "60", "--suppress-health-check", "all"),
                *("--workers", "1"),  # Python 3.11's ast.parse fails in threads at great depth
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert run.returncode == 0, run.stdout[-20_000:]
        assert server.metric("nacelle_host_restarts_total") == 0
