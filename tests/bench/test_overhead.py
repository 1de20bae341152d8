"""The measurements behind `nacelle bench overhead`, at their smallest."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.alone import arena_copy, command_start
from bench.cli import bench
from bench.frontend_alone import frontend_alone
from bench.server import command_environment


def test_a_tensor_through_an_arena_costs_more_than_its_one_copy() -> None:
    figure = arena_copy()
    assert figure.value > 1
    assert len(figure.samples) == 100


def test_the_start_of_a_command_is_timed_and_its_failure_is_not_taken_for_speed() -> None:
    assert 0 < command_start("--help").value < 30
    with pytest.raises(subprocess.CalledProcessError):
        command_start("no-such-command")


def test_commands_do_not_compile_their_modules_at_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert command_environment().keys() == os.environ.keys() - {"PYTHONDONTWRITEBYTECODE"}


def test_the_frontend_is_compared_with_a_bare_loop_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.frontend_alone._TOKENS", 64)
    figure = frontend_alone(pairs=1)
    [pair] = figure.pairs
    assert pair.ours > 0
    assert pair.yardstick > 0
    assert figure.samples == [pair.ratio]
    assert "of its core" in figure.note


@pytest.mark.parametrize("levels", ["", "0", "1,x", "1,,2", "-1"])
def test_concurrency_is_a_list_of_numbers_from_one(levels: str) -> None:
    result = CliRunner().invoke(bench, ["overhead", "smollm2", "--concurrency", levels])
    assert result.exit_code == 2
    assert "from 1" in result.output


def test_only_texts_are_compared_with_the_engine_s_defaults(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.touch()
    asked = ["overhead", "whisper", "--engine-defaults", "--audio", str(recording)]
    result = CliRunner().invoke(bench, asked)
    assert result.exit_code == 2
    assert "exclude each other" in result.output
