"""What a reload reads, and what it refuses."""

from pathlib import Path

import pytest

from frontend.config import ConfigError
from frontend.reload.configuration import ConfigurationSource


def test_a_file_that_was_emptied_does_not_remove_every_model(tmp_path: Path) -> None:
    file = tmp_path / "nacelle.toml"
    file.write_text('[[models]]\nname = "a"\nsource = "synthetic"\n')
    source = ConfigurationSource({}, {}, (), file, {"XDG_DATA_HOME": str(tmp_path)})
    source.settings()
    file.write_text("")
    with pytest.raises(ConfigError, match="would remove every model"):
        source.settings()
    file.write_text('[[models]]\nname = "b"\nsource = "synthetic"\n')
    settings, _ = source.settings()
    assert [model.name for model in settings.models] == ["b"]
