"""The evaluation harness lm_eval, as its users run it, on a task of our own: no hub is asked for anything."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.serving import EXACT, MODEL, Serving

pytestmark = pytest.mark.lm_eval

COUNTRIES = [("France", "Paris"), ("Japan", "Tokyo"), ("Germany", "Berlin")]
CAPITALS = [capital for _, capital in COUNTRIES]
MULTIPLE_CHOICE = """
output_type: multiple_choice
doc_to_text: "The capital of {{country}} is"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: " "
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
GENERATED = """
output_type: generate_until
doc_to_text: "What is the capital of {{country}}?"
doc_to_target: "The capital of {{country}} is {{choices[answer]}}."
generation_kwargs: {until: ["\\n"], max_gen_toks: 20}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


@pytest.fixture(scope="module")
def server(smollm2_ir: Path):
    with Serving([str(smollm2_ir), "--name", MODEL], EXACT, {}) as serving:
        yield serving.wait_until_ready()


def value_of(server: Serving, folder: Path, model: str, path: str, task: str, metric: str) -> float:
    """What the harness measures of a task."""
    program = shutil.which(os.environ.get("LM_EVAL", "lm_eval"))
    assert program is not None, "lm_eval is missing: install it, or set LM_EVAL to its program"
    examples = folder / "capitals.jsonl"
    examples.write_text(
        "".join(
            json.dumps({"country": country, "choices": CAPITALS, "answer": index}) + "\n"
            for index, (country, _) in enumerate(COUNTRIES)
        )
    )
    (folder / "task.yaml").write_text(
        f"task: told\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {examples}}}}}\n"
        f"test_split: test\n{task}"
    )
    arguments = f"model={MODEL},base_url={str(server.http.base_url).rstrip('/')}{path},max_retries=1"
    command = [program, "--model", model, "--model_args", arguments, "--tasks", "told"]
    command += ["--include_path", str(folder), "--apply_chat_template"][: 3 if "chat" in path else 2]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, env=environment | offline, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.search(rf"\|{metric}\s*\|[^|]*\|\s*([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def test_a_multiple_choice_task_is_scored(server: Serving, tmp_path: Path) -> None:
    """By token ids of the server's tokenizer, and the log probabilities of its prompts."""
    value = value_of(server, tmp_path, "local-completions", "/v1/completions", MULTIPLE_CHOICE, "acc")
    assert value == 1.0


def test_a_task_of_chats_is_answered(server: Serving, tmp_path: Path) -> None:
    path = "/v1/chat/completions"
    assert value_of(server, tmp_path, "local-chat-completions", path, GENERATED, "exact_match") == 1.0
