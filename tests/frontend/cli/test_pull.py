"""`nacelle pull` as a command: what it prints, and where."""

import json
import subprocess
from pathlib import Path

import pytest

from bench.server import nacelle_command
from tests.frontend.models.sources.test_pulls import IR
from tests.frontend.models.sources.web_servers import HubServer


def pull(store: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*nacelle_command(), "pull", *arguments, "--store", str(store)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_folder_is_on_stdout_and_the_progress_on_stderr(hub: HubServer, tmp_path: Path):
    hub.add("org/tiny-ov", IR)
    run = pull(tmp_path, "org/tiny-ov")
    assert run.stderr.splitlines() == ["Looking for org/tiny-ov", "Fetching org/tiny-ov"]
    assert (Path(run.stdout.strip()) / "openvino_model.bin").read_bytes() == IR["openvino_model.bin"]


def test_json_is_a_line_for_each_event_and_the_last_is_the_result(hub: HubServer, tmp_path: Path):
    hub.add("org/tiny-ov", IR)
    run = pull(tmp_path, "org/tiny-ov", "--json", "--name", "mine")
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert (run.returncode, run.stderr) == (0, "")
    assert {event["event"] for event in events} == {"step", "progress", "done"}
    assert [event for event in events if event["event"] == "progress"][-1]["total"] == sum(
        map(len, IR.values())
    )
    assert (events[-1]["name"], events[-1]["source"]) == ("mine", "org/tiny-ov")


def test_a_failure_is_short_and_has_status_1_in_json_too(hub: HubServer, tmp_path: Path):
    run = pull(tmp_path, "org/nosuch")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("Error: cannot pull org/nosuch: ")
    assert "there is no repository org/nosuch" in run.stderr
    run = pull(tmp_path, "org/nosuch", "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout.splitlines()[-1])["event"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["a/b", "c/d", "--name", "x"], "--name is for one SOURCE, not for 2"),
        (["a/b", "--weight-format", "int3"], "'int3' is not one of 'int4', 'int8', 'fp16'"),
    ],
)
def test_a_wrong_command_line_has_status_2(tmp_path: Path, arguments: list[str], error: str):
    run = pull(tmp_path, *arguments)
    assert run.returncode == 2
    assert error in run.stderr
