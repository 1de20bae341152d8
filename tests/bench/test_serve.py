"""`nacelle bench serve` as its users run it, and the JSON that it leaves."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from bench.cli import bench
from bench.report import Report
from bench.serve import ServeResults
from bench.server import Server, free_port

_QUICK = ["--model", "m", "--requests", "6", "--max-tokens", "5", "--prompt-words", "3"]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(bench, ["serve", *_QUICK, *arguments])


def _read(path: Path) -> Report[ServeResults]:
    return msgspec.json.decode(path.read_bytes(), type=Report[ServeResults], strict=True)


def test_a_run_prints_its_figures_and_writes_them_as_json(bare: Server, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.json"
    result = _run("--base-url", bare.base_url, "--goodput", "ttft:10000", "--json", str(path))
    assert result.exit_code == 0, result.output
    for part in ("6 of 6 completed", "30 (counted from usage)", "TTFT", "TPOT", "goodput", str(path)):
        assert part in result.output.replace("\n", "")
    report = _read(path)
    assert report.results.summary.output_tokens == 30
    assert report.results.workload.concurrency == 8
    assert report.results.summary.goodput is not None
    assert report.results.summary.goodput.share == 1
    assert report.machine.cores >= 1
    assert "openvino" in report.machine.versions


def test_json_goes_to_a_new_file_in_bench_results_by_default(
    bare: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run("--base-url", bare.base_url).exit_code == 0
    [written] = (tmp_path / "bench-results").iterdir()
    assert _read(written).results.model == "m"


def test_an_api_key_is_never_written(bare: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    arguments = ["--base-url", bare.base_url, "--api-key", "sk-secret", "--json", str(path)]
    monkeypatch.setattr("sys.argv", ["nacelle", "bench", "serve", *arguments, "--api-key=sk-secret"])
    result = _run(*arguments)
    assert result.exit_code == 0
    assert "sk-secret" not in path.read_text() + result.output


def test_a_server_that_is_not_there_ends_the_command_with_its_reason(tmp_path: Path) -> None:
    result = _run("--base-url", f"http://127.0.0.1:{free_port()}", "--json", str(tmp_path / "run.json"))
    assert result.exit_code == 1
    assert "connect_failed" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--base-url", "ftp://x"],
        ["--base-url", "http://x", "--goodput", "speed:9"],
        ["--base-url", "http://x", "--prompt-tokens", "9"],
        ["--base-url", "http://x", "--concurrency", "0"],
        ["--base-url", "http://x", "--request-rate", "0"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors(arguments: list[str]) -> None:
    assert _run(*arguments).exit_code == 2
