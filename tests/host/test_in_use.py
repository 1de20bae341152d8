"""A host marks the folder that it has loaded, for as long as it lives."""

from pathlib import Path

import pytest

from ipc.in_use import InUse, unused, users_of
from tests.host.harness import host_running, launch_of


def test_the_folder_of_a_loaded_model_is_in_use_until_the_host_ends(qwen3_ir: Path) -> None:
    with host_running(launch_of(qwen3_ir)) as host:
        pid = host.process.pid
        assert pid in users_of(qwen3_ir)
        with pytest.raises(InUse), unused(qwen3_ir):
            pass
    assert pid not in users_of(qwen3_ir)
