"""`nacelle tune` beside its measurements."""

from pathlib import Path

import pytest

from bench.tuning.command import reset
from frontend.cli.tune import outcome
from frontend.config import ModelSettings, Settings
from frontend.models.reporter import Silent
from frontend.models.resolve import Preparer


def test_an_earlier_tuning_that_stays_in_force_is_mentioned() -> None:
    assert outcome("m", kept=False, earlier=False) == "Nothing was kept."
    assert "an earlier tuning. Undo with: nacelle tune m --reset" in outcome("m", kept=False, earlier=True)


def test_a_reset_downloads_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(*_: object) -> Path:
        raise AssertionError("nobody asked for a download")

    monkeypatch.setattr(Preparer, "pull", pull)
    reset(Settings(store=str(tmp_path), models=[ModelSettings(name="m", source="smollm2")]), Silent())
