"""What fsspec reaches: its memory in each run, a real emulator of Google's storage on demand."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from bench.server import free_port
from frontend.models.errors import ModelError, SourceError
from frontend.models.sources.asked import PullOptions
from frontend.models.sources.assembly import Assembly
from frontend.models.sources.choice import Wish
from frontend.models.sources.fetching import fetch_listing
from frontend.models.sources.listed import pull_listed
from frontend.models.sources.remote import list_remote
from tests.e2e.serving import wait_for
from tests.frontend.models.sources.test_pulls import IR, PAPERS, contents, only, zipped
from tests.frontend.models.tiny import GGUF, Recorder

FILES = IR | PAPERS


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe(f"/bucket/m/{name}", data)
    yield system
    system.rm("/bucket", recursive=True)


class BreakingFile(io.BytesIO):
    def __init__(self, content: bytes, end: int | None, offsets: list[int]) -> None:
        super().__init__(content)
        self._end, self._offsets = end, offsets

    def read(self, size: int | None = -1, /) -> bytes:
        self._offsets.append(self.tell())
        if self._end is None:
            return super().read(size)
        if self.tell() >= self._end:
            raise ConnectionResetError("reset by peer")
        return super().read(self._end)


class Breaking:
    """A file system whose files break after some bytes, a number of times."""

    def __init__(self, system: Any, after: int, times: int) -> None:
        self._system, self.after, self.times = system, after, times
        self.offsets: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def open(self, path: str, *_: Any, **__: Any) -> Any:
        end = self.after if self.times else None
        self.times = max(0, self.times - 1)
        return BreakingFile(self._system.cat_file(path), end, self.offsets)


def test_a_folder_is_fetched_whole_and_what_broke_is_resumed(memory, tmp_path, naps):
    system = Breaking(memory, 50_000, 1)
    listing = list_remote("/bucket/m", system)
    assert listing.sizes == {name: len(data) for name, data in FILES.items()}
    reporter = Recorder()
    fetch_listing(listing, ["openvino_model.bin"], tmp_path, reporter, sleep=naps.append)
    assert (tmp_path / "openvino_model.bin").read_bytes() == FILES["openvino_model.bin"]
    assert system.offsets[:3] == [0, 50_000, 50_000]  # the last of them is the second try's
    assert naps == [1.0]
    assert reporter.notes == ["the connection broke: reset by peer; trying again"]


def test_a_single_file_has_its_own_name(memory):
    assert list_remote("/bucket/m/config.json", memory).sizes == {"config.json": len(IR["config.json"])}


class Plain:
    """A file system that states nothing of its files but their names and sizes, and `more`."""

    def __init__(self, system: Any, more: dict[str, str]) -> None:
        self._system, self._more = system, more

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def find(self, path: str, detail: bool = False) -> Any:
        found = self._system.find(path, detail=True)
        return {name: {"name": name, "size": info["size"], **self._more} for name, info in found.items()}


@pytest.mark.parametrize("key", ["sha", "modificationTime"])
def test_what_changes_with_a_file_tells_its_versions_apart(memory, key):
    one, other = (list_remote("/bucket/m", Plain(memory, {key: value})) for value in ("1", "2"))
    assert one.is_versioned(FILES)
    assert one.revision != other.revision
    assert one.fingerprint(FILES) != other.fingerprint(FILES)


def test_models_of_a_service_that_states_no_versions_are_told_apart_by_their_content(
    memory, store, reporter, naps
):
    assembly, wish = Assembly(store, reporter, {}), Wish()

    def pull(name: str) -> Path:
        listing = list_remote("/bucket/m", Plain(memory, {}))
        assert not listing.is_versioned(FILES)
        return Path(pull_listed(assembly, listing, name, "x://m", "remote", wish, naps.append).path)

    first = pull("m")
    assert pull("m") == first
    changed = bytes(reversed(FILES["openvino_model.bin"]))
    memory.pipe("/bucket/m/openvino_model.bin", changed)
    assert contents(pull("m"))["openvino_model.bin"] == changed
    assert contents(pull("other"))["openvino_model.bin"] == changed


def test_nothing_there_is_called_that(memory):
    with pytest.raises(SourceError, match="nothing is at /bucket/nosuch"):
        list_remote("/bucket/nosuch", memory)


@pytest.mark.parametrize(
    ("url", "package"), [("gs://b/m", "gcsfs"), ("s3://b/m", "s3fs"), ("az://b/m", "adlfs")]
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(puller, monkeypatch, url, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf"needs {package}; install it with: \S+ -m pip install {package}$"):
        puller.pull(url)


# --- with gcsfs and a real emulator -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A bucket of Google's storage, as an emulator in a process of its own has it."""
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # as our own import does
    gcsfs = pytest.importorskip("gcsfs")
    port, folder = free_port(), tmp_path_factory.mktemp("emulator")
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen([*command, "--in-memory", "--default-bucket=models"], cwd=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("NO_GCE_CHECK", "true")
        gcsfs.GCSFileSystem.clear_instance_cache()
        system = gcsfs.GCSFileSystem(token="anon", endpoint_url=os.environ["STORAGE_EMULATOR_HOST"])

        def is_there() -> bool:
            try:
                return bool(system.exists("models"))
            except Exception:
                return False

        try:
            wait_for(is_there, "the emulator answers")
            yield system
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.gcs
def test_a_bucket_holds_a_folder_a_gguf_file_and_an_archive(bucket, puller, store, tmp_path):
    for name, data in FILES.items():
        bucket.pipe(f"models/tiny-ov/{name}", data)
    bucket.pipe("models/tiny.gguf", GGUF)
    bucket.pipe("models/packed.zip", zipped(FILES))
    pulled = puller.pull("gs://models/tiny-ov")
    assert pulled.name == "tiny-ov"
    assert contents(only(store).path) == FILES
    assert puller.pull("gs://models/tiny-ov") == pulled
    gguf = puller.pull("gs://models/tiny.gguf", PullOptions(name="small"))
    assert (Path(gguf.path) / "openvino_model.bin").read_bytes() == GGUF
    assert contents(Path(puller.pull("gs://models/packed.zip").path)) == FILES
    with pytest.raises(ModelError, match="nothing is at gs://models/nosuch"):
        puller.pull("gs://models/nosuch")
