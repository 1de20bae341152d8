"""The built-in catalogue."""

import msgspec
import pytest

from frontend.models.catalogue import UrlSource, WheelSource, load_catalogue


def test_the_catalogue_has_smollm2_and_its_first_source_is_a_wheel():
    entry = load_catalogue()["smollm2"]
    wheel, url = entry.sources
    assert isinstance(wheel, WheelSource)
    assert isinstance(url, UrlSource)
    assert wheel.member.endswith(entry.file)
    assert url.url.endswith(entry.file)
    assert (entry.generation["temperature"], entry.generation["top_p"]) == (0.2, 0.9)


def test_every_entry_can_be_fetched_safely():
    for name, entry in load_catalogue().items():
        assert name == name.lower()
        assert "/" not in name + entry.file
        assert entry.licence
        for source in entry.sources:
            assert isinstance(source, WheelSource) or source.url.startswith("https://")


def test_the_synthetic_engine_is_no_model_of_the_catalogue():
    assert "synthetic" not in load_catalogue()


def test_an_entry_with_a_field_that_means_nothing_is_refused(tmp_path):
    file = tmp_path / "catalogue.toml"
    file.write_text("[m]\nlicense = 'typo'")
    with pytest.raises(msgspec.ValidationError, match="license"):
        load_catalogue(file)
