"""The progress page: what the writer said is what the reader sees, or nothing."""

import os
import struct

import pytest

from ipc.memfd import create_sealed, map_shared
from ipc.progress import PAGE_BYTES, Phase, ProgressReader, ProgressWriter


@pytest.fixture
def page():
    fd = create_sealed("test", PAGE_BYTES)
    yield fd
    os.close(fd)


def test_an_untouched_page_reads_as_starting(page):
    progress = ProgressReader(page).read()
    assert progress is not None
    assert progress.phase is Phase.STARTING
    assert progress.beat == 0


def test_the_reader_sees_phase_and_budget_and_a_new_beat_each_time(page):
    writer, reader = ProgressWriter(page), ProgressReader(page)
    writer.enter(Phase.LOADING, 600.0)
    first = reader.read()
    writer.enter(Phase.STEP, 30.0)
    second = reader.read()
    assert first is not None and second is not None
    assert (first.phase, second.phase) == (Phase.LOADING, Phase.STEP)
    assert second.budget == pytest.approx(30.0)
    assert second.beat == first.beat + 1
    assert second.time >= first.time


def test_a_write_that_never_ended_reads_as_nothing(page):
    ProgressWriter(page).enter(Phase.STEP, 1.0)
    struct.pack_into("<Q", map_shared(page), 0, 3)
    assert ProgressReader(page).read() is None


def test_an_unknown_phase_reads_as_nothing(page):
    writer = ProgressWriter(page)
    writer.enter(Phase.STEP, 1.0)
    struct.pack_into("<Q", map_shared(page), 8, 99)
    assert ProgressReader(page).read() is None
