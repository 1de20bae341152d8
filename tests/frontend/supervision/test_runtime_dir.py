"""The private folder: short, private, and swept when its server is gone."""

import os
import shutil
import stat
from pathlib import Path

from frontend.supervision.runtime_dir import RuntimeDir, base_folder, sweep


def test_the_folder_is_private_and_goes_away(tmp_path):
    folder = RuntimeDir(lambda: tmp_path)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert not folder.path.exists()


def test_a_dead_servers_folder_is_swept_and_a_living_ones_is_not(tmp_path):
    alive = RuntimeDir(lambda: tmp_path)
    dead = tmp_path / "nacelle-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "socket").touch()
    sweep(tmp_path)
    assert alive.path.exists()
    assert not dead.exists()
    alive.remove()


def test_a_folder_that_was_removed_is_made_again_where_that_is_possible(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    folder = RuntimeDir(lambda: first if first.exists() else second)
    assert folder.socket_path("s").is_relative_to(first)
    shutil.rmtree(first)  # as logind does
    path = folder.socket_path("s")
    assert path.is_relative_to(second)
    path.touch()
    assert folder.socket_path("s") == path
    folder.remove()


def test_a_base_whose_socket_paths_the_kernel_would_cut_is_passed_over(short_path):
    long = short_path / ("x" * 90)
    long.mkdir()
    assert base_folder({"XDG_RUNTIME_DIR": str(long)}) == Path("/tmp")
    assert base_folder({"XDG_RUNTIME_DIR": str(short_path)}) == short_path
    assert base_folder({"XDG_RUNTIME_DIR": "relative"}) == Path("/tmp")


def test_a_base_that_is_not_there_is_passed_over(short_path):
    environment = {"XDG_RUNTIME_DIR": str(short_path / "none"), "TMPDIR": os.fspath(short_path)}
    assert base_folder(environment) == short_path
