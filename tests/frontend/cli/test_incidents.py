"""`nacelle incidents`, run in this process on a store of its own."""

import json

import pytest
from click.testing import CliRunner

from frontend.cli.incidents import incidents
from frontend.cli.keys import _day
from frontend.observability.incidents import INCIDENTS, Incidents, Outcomes
from frontend.supervision.death import Death

SEGFAULT = Death("m", 1, "GPU", 77, "step", seconds=3.25, signal=11, stderr_tail=("what(): bad",))


@pytest.fixture
def store(tmp_path):
    kept = Incidents(tmp_path / INCIDENTS, clock=lambda: 1e9)
    kept.record("inc_1", SEGFAULT, Outcomes(held=2, resumed=2), [], {"weights": "int4"})
    kept.record("inc_2", SEGFAULT, Outcomes(), [], {})
    return str(tmp_path)


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(incidents, words)
    return result.exit_code, result.output


def test_all_are_listed_the_latest_first(store):
    status, output = run("--store", store)
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()] == ["ID", "inc_2", "inc_1"]
    assert "m/1" in output
    assert "SIGSEGV" in output


def test_one_is_shown_to_people_and_programs(store):
    status, output = run("inc_1", "--store", store)
    assert status == 0
    assert "2 held, 2 resumed" in output
    assert "  what(): bad" in output
    shown = json.loads(run("inc_1", "--json", "--store", store)[1])
    assert (shown["weights"], shown["signal"]) == ("int4", "SIGSEGV")


def test_others_are_an_error_that_says_what_to_do(store):
    assert run("inc_7", "--store", store) == (
        1,
        "Error: no incident begins with 'inc_7'; nacelle incidents lists them\n",
    )
    assert "several incidents begin" in run("inc", "--store", store)[1]
    assert len(run("x" * 5000, "--store", store)[1]) < 160


def test_what_a_host_wrote_does_not_control_the_terminal(tmp_path):
    death = Death("m", 1, "GPU", 77, "step", stderr_tail=("\x1b[2J\x1b]0;gone\x07 text",))
    Incidents(tmp_path / INCIDENTS).record("inc_1", death, Outcomes(), [], {})
    assert "?[2J?]0;gone? text" in run("inc_1", "--store", str(tmp_path))[1]


def test_a_time_that_no_clock_reaches_is_shown_all_the_same():
    assert _day(1e30) == "after 9999"
    assert _day(0) == "1970-01-01 00:00"


def test_a_store_without_any_says_so(tmp_path):
    assert run("--store", str(tmp_path)) == (0, "No host has died.\n")
