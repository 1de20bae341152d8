"""The folder for compiled models: made where there is none, refused by the property where it is useless."""

import os

import pytest

from host.cache_folder import check_cache_folder
from host.errors import LaunchError


@pytest.mark.parametrize("folder", ["/proc/x", "/proc/self/x/y", "/dev/null", "/dev/null/x", "a\0b"])
def test_a_folder_that_cannot_be_made_is_named_with_its_property(folder):
    with pytest.raises(
        LaunchError, match=r"^CACHE_DIR: the folder .* cannot be made: .*; change --property CACHE_DIR$"
    ):
        check_cache_folder({"CACHE_DIR": folder})


def test_a_folder_that_cannot_be_written_to_is_named_with_its_property(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a super-user may write everywhere
    with pytest.raises(LaunchError, match=f"CACHE_DIR: the folder {tmp_path} cannot be written to; change"):
        check_cache_folder({"CACHE_DIR": str(tmp_path)})


@pytest.mark.parametrize("properties", [{}, {"CACHE_DIR": ""}, {"NUM_STREAMS": "1"}])
def test_no_folder_is_no_fault(properties):
    check_cache_folder(properties)


def test_a_folder_is_made(tmp_path):
    check_cache_folder({"CACHE_DIR": str(tmp_path / "a" / "b")})
    check_cache_folder({"CACHE_DIR": str(tmp_path / "a" / "b")})
    assert (tmp_path / "a" / "b").is_dir()
