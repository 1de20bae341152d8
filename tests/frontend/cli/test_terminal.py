"""What the preparation of a model looks like."""

import os
import subprocess
import sys

import msgspec
from rich.progress import Progress

from frontend.cli.listing import OUTDATED, READY, Row, installed_row, rows_of, table
from frontend.cli.live import BytesColumn
from frontend.cli.terminal import PlainReporter, TerminalReporter
from frontend.models.manifest import file_sizes
from frontend.models.store import Store
from tests.frontend.models.puller import RECIPE, obtain
from tests.frontend.models.tiny import Recorder, convert, entry

SHOW = """
from frontend.cli.terminal import TerminalReporter
with TerminalReporter() as reporter:
    reporter.step("Fetching [it]")
    reporter.note("That failed: [Errno 111]")
    reporter.step("Converting it")
"""


def test_a_terminal_keeps_a_line_for_each_activity_that_ended():
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", SHOW], stderr=slave, check=True, env=environment)
    os.set_blocking(master, False)
    shown = os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    assert "  That failed: [Errno 111]" in shown
    for activity in (" Fetching [it]", " Converting it"):
        assert f"✓\x1b[0m{activity}" in shown


def test_a_download_shows_how_far_it_is_and_other_work_shows_no_bytes():
    progress = Progress()
    progress.add_task("Fetching", total=60_000_000, completed=30_000_000)
    progress.add_task("Converting", total=None)
    download, work = progress.tasks
    assert BytesColumn().render(download).plain == "30 of 60 MB"
    assert BytesColumn().render(work).plain == ""


def test_elsewhere_there_are_a_few_plain_lines(capsys):
    now = 0.0
    reporter = PlainReporter(lambda: now)
    reporter.step("Fetching it")
    for done in range(101):
        now += 0.5
        reporter.progress(done * 1_000_000, 100_000_000)
    reporter.note("done")
    assert capsys.readouterr().err.splitlines() == [
        "Fetching it",
        *(f"  {part} of 100 MB" for part in (25, 50, 75, 100)),
        "  done",
    ]


def test_what_is_quick_says_nothing_of_its_progress(capsys):
    reporter = PlainReporter(lambda: 0.0)
    reporter.step("Unpacking it")
    for done in range(101):
        reporter.progress(done, 100)
    assert capsys.readouterr().err == "Unpacking it\n"


def test_with_nothing_to_do_there_is_nothing_to_see(capsys):
    with TerminalReporter():
        pass
    assert capsys.readouterr().err == ""


def test_a_table_lines_up():
    assert table(
        [Row("smollm2", "ready", 98_000_000, "text"), Row("x", "not pulled", 7_000_000, "more text")]
    ) == [
        "NAME     STATE        SIZE  DESCRIPTION",
        "smollm2  ready       98 MB  text",
        "x        not pulled   7 MB  more text",
    ]


def test_a_table_wraps_descriptions_between_words():
    rows = [Row("x", "ready", 7_000_000, "a description of /a/path/without-any-blank and more")]
    assert table(rows, 45) == [
        "NAME  STATE  SIZE  DESCRIPTION",
        "x     ready  7 MB  a description of",
        "                   /a/path/without-any-blank",
        "                   and more",
    ]


def test_only_conversions_of_files_are_rows_and_old_ones_are_told_apart(tmp_path):
    store = Store(tmp_path, Recorder(), convert)
    mine = msgspec.structs.replace(RECIPE, kind="files")
    for recipe in (RECIPE, mine):
        store.ensure(recipe, "/m/tiny.gguf", obtain)
    catalogue = {RECIPE.name: entry()}
    [ours, row] = rows_of(catalogue, store)
    assert (row.name, row.state, row.description) == ("tiny", OUTDATED, "converted from /m/tiny.gguf")
    assert row.bytes == sum(file_sizes(store.folder(mine)).values())
    assert (ours.name, ours.state) == ("tiny", OUTDATED)
    [one] = [each for each in store.installed() if each.manifest.recipe == mine]
    assert installed_row(msgspec.structs.replace(one, is_current=True)).state == READY
