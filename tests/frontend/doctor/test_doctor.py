"""`nacelle doctor` with real child processes: what it finds here, and how devices fail."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from frontend.cli.root import root
from frontend.doctor.collect import loads, read_settings
from frontend.doctor.ports import port_facts
from frontend.doctor.self_test import StoredText, self_test
from frontend.machine.devices import ProbeFailed, ask_devices, read_report, try_device
from ipc.machine import MachineReport
from tests.models.qwen3 import tiny_qwen3


@pytest.fixture(scope="module")
def model() -> Path:
    return tiny_qwen3("qwen3")


def test_without_a_stored_model_each_device_computes_something_small(tmp_path, monkeypatch):
    monkeypatch.setenv("NACELLE_STORE", str(tmp_path))
    monkeypatch.setenv("NACELLE_PROT", "80")
    result = CliRunner().invoke(root, ["doctor", "--json"], prog_name="nacelle")
    report = json.loads(result.stdout)
    levels = {finding["level"] for finding in report["findings"]}
    assert result.exit_code == (1 if "fail" in levels else 0)
    [test] = [test for test in report["facts"]["self_tests"] if test["device"] == "CPU"]
    assert (test["error"], test["model"]) == ("", "")
    assert any("did you mean NACELLE_PORT?" in finding["text"] for finding in report["findings"])


def test_the_lines_for_people_end_with_a_summary(tmp_path, monkeypatch):
    monkeypatch.setenv("NACELLE_STORE", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    result = CliRunner().invoke(root, ["doctor"], prog_name="nacelle")
    assert result.exit_code == 1
    assert "FAIL  store" in result.output
    assert "→ choose another folder: nacelle serve --store FOLDER" in result.output
    assert result.output.splitlines()[-1].endswith("see the lines with → above.")


def test_a_library_that_hangs_or_is_missing_costs_doctor_nothing(tmp_path):
    os.mkfifo(tmp_path / "libhangs.so")  # the loader waits for whoever writes into it
    assert loads("libc.so.6")
    assert not loads("libnosuch.so.1")
    assert not loads(str(tmp_path / "libhangs.so"), seconds=0.5)


def test_a_real_host_gives_one_token(model):
    passed = self_test("CPU", StoredText("tiny", model))
    assert passed.error == ""
    assert passed.load_seconds > 0 and passed.token_seconds > 0


def test_a_model_that_cannot_be_loaded_is_a_finding(model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = broken / "openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    failed = self_test("CPU", StoredText("broken", broken))
    assert "openvino_model" in failed.error
    assert failed.token_seconds == 0


def test_a_device_that_does_not_exist_is_a_finding(model):
    assert "there is no device GPU.7" in self_test("GPU.7", StoredText("tiny", model)).error
    assert self_test("GPU.7", None).error


def test_a_host_that_takes_too_long_is_a_finding(model):
    assert self_test("CPU", StoredText("tiny", model), seconds=0.01).error == "it was not ready within 0.01 s"


def test_a_probe_that_takes_too_long_is_a_finding():
    with pytest.raises(ProbeFailed, match=r"no answer within 0\.01 s"):
        try_device("CPU", 0.01)


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ((-11, b"", b""), "died of SIGSEGV"),
        ((1, b"", b"one\nthe last line\n"), "the last line"),
        ((0, b"garbage", b""), "an unreadable report"),
    ],
)
def test_a_probe_that_crashes_or_fails_says_how(ended, words):
    status, stdout, stderr = ended
    with pytest.raises(ProbeFailed, match=words):
        read_report(status, stdout, stderr, MachineReport)


def test_the_devices_include_the_cpu():
    [cpu] = [device for device in ask_devices().devices if device.name == "CPU"]
    assert cpu.full_name
    assert "INFERENCE_NUM_THREADS" in cpu.properties


def test_a_busy_port_is_found_with_its_holder():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        facts = port_facts("127.0.0.1", busy.getsockname()[1], "server")
    assert facts.error == "in use"
    assert facts.pid or not facts.holder
    assert port_facts("127.0.0.1", 0, "server").error == ""


def test_a_settings_file_that_a_server_would_refuse_is_an_error(tmp_path):
    file = tmp_path / "nacelle.toml"
    file.write_text("[server]\nprot = 1\n")
    settings, [found] = read_settings({}, file)
    assert (settings.port, found.is_error) == (8000, True)
    assert "did you mean 'port'?" in found.text
