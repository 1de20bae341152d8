"""How work on images appears on the progress page."""

import os
from collections.abc import Iterator

import pytest

from host.media_phases import MediaPhases
from ipc.memfd import create_sealed
from ipc.progress import MEDIA_STEPS, PAGE_BYTES, Phase, ProgressReader, ProgressWriter


@pytest.fixture
def page() -> Iterator[int]:
    fd = create_sealed("progress", PAGE_BYTES)
    yield fd
    os.close(fd)


def test_images_have_a_phase_and_a_budget_for_each(page: int) -> None:
    phases, reader = MediaPhases(10.0), ProgressReader(page)
    phases.report_to(ProgressWriter(page))
    for images, steps in ((1, 2), (3, 4), (60, MEDIA_STEPS)):
        with phases.of(images):
            inside = reader.read()
        after = reader.read()
        assert inside is not None and after is not None
        assert (inside.phase, round(inside.budget)) == (Phase.MEDIA, 10 * steps)
        assert (after.phase, round(after.budget)) == (Phase.STEP, 10)


def test_the_phase_ends_with_an_error_too(page: int) -> None:
    phases, reader = MediaPhases(10.0), ProgressReader(page)
    phases.report_to(ProgressWriter(page))
    with pytest.raises(RuntimeError), phases.of(1):
        raise RuntimeError
    after = reader.read()
    assert after is not None and after.phase is Phase.STEP


def test_text_has_no_phase_of_its_own(page: int) -> None:
    phases, reader = MediaPhases(10.0), ProgressReader(page)
    phases.report_to(ProgressWriter(page))
    before = reader.read()
    with phases.of(0):
        assert reader.read() == before


def test_a_load_has_the_largest_budget(page: int) -> None:
    phases, reader = MediaPhases(10.0), ProgressReader(page)
    phases.report_to(ProgressWriter(page))
    with phases.of_load():
        inside = reader.read()
    assert inside is not None
    assert (inside.phase, round(inside.budget)) == (Phase.MEDIA, 10 * MEDIA_STEPS)
