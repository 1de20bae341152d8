"""A host marks the folder that it has loaded, for as long as it lives."""

import errno
import fcntl
import os
from pathlib import Path

import msgspec
import pytest

from host.__main__ import _folders_of
from ipc.in_use import InUse, mark, unused, users_of
from ipc.messages import TranscriptionOptions
from tests.host.harness import host_running, launch_of


def test_the_folder_of_a_loaded_model_is_in_use_until_the_host_ends(qwen3_ir: Path) -> None:
    with host_running(launch_of(qwen3_ir)) as host:
        pid = host.process.pid
        assert pid in users_of(qwen3_ir)
        with pytest.raises(InUse), unused(qwen3_ir):
            pass
    assert pid not in users_of(qwen3_ir)


def test_the_folder_of_the_model_that_finds_speech_is_in_use_too(tmp_path: Path) -> None:
    options = TranscriptionOptions(voice_activity_model=str(tmp_path / "other" / "silero_vad.onnx"))
    launch = msgspec.structs.replace(launch_of(tmp_path), options=options)
    assert _folders_of(launch) == [tmp_path, tmp_path / "other"]


def test_where_folders_cannot_be_locked_nothing_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert mark(tmp_path) == -1
    with unused(tmp_path):
        pass


def test_a_mark_waits_for_a_removal_that_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removal = unused(tmp_path)
    removal.__enter__()
    monkeypatch.setattr("ipc.in_use.time.sleep", lambda _: removal.__exit__(None, None, None))
    fd = mark(tmp_path)
    assert fd >= 0
    os.close(fd)
