"""A disk that is full or read-only: a real one, which a process mounts in a namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from frontend.models.wheels import disk_error

ROOT = Path(__file__).parents[3]
SIZE = 6_000_000  # bytes of the model

PULL = """
import sys
from pathlib import Path
from msgspec.structs import replace
from frontend.models.catalogue import UrlSource
from frontend.models.errors import ModelError
from frontend.models.resolve import Preparer
from frontend.models.store import Store
from tests.frontend.models.tiny import Recorder, build_wheel, convert, entry

disk, index, url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
content = b"GGUF" + bytes(int(sys.argv[4]))
sources = [UrlSource(url)] if url else [build_wheel(index, content), UrlSource("http://127.0.0.1:9")]
reporter = Recorder()
made = entry(*sources, content=content)
if len(sys.argv) > 5:  # an entry that states another size
    made = replace(made, files=[replace(made.files[0], bytes=int(sys.argv[5]))])
catalogue = {"tiny": made}
try:
    Preparer(Store(disk, reporter, convert), reporter, catalogue).pull("tiny")
except ModelError as error:
    print(error)
print(*(path.name for path in disk.rglob("*") if path.is_file()))
"""


def pull(tmp_path: Path, mount: str, url: str = "", stated: str = "") -> list[str]:
    """What a pull prints whose store is on the disk that `mount` describes; the catalogue states `stated`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o {mount} none "$1" && exec "$2" -c "$3" "$1" "$4" "$5" {SIZE} {stated}'
    words = [str(disk), sys.executable, PULL, os.environ["PIP_FIND_LINKS"], url]
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip(f"no namespaces here: {run.stderr}")
    assert run.stderr == ""
    return run.stdout.splitlines()


@pytest.mark.parametrize("megabytes", [2, 8], ids=["fetching", "unpacking"])
def test_a_full_disk_is_called_that_whichever_step_fills_it(index, tmp_path, megabytes):
    error, left = pull(tmp_path, f"size={megabytes}m", stated="1")
    home = tmp_path / "disk" / "catalogue" / "tiny"
    assert error == (
        f"cannot store tiny in {home}: No space left on device; "
        "free some space, or choose another store with --store"
    )
    whole = {name for name in left.split() if name.endswith(".whl")}
    assert set(left.split()) - whole <= {".lock", "tiny.Q4_1.gguf"}  # what was fetched whole may stay


def test_a_disk_that_a_download_fills_is_called_full(index, web, tmp_path):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(SIZE + 4))
        handler.end_headers()
        handler.wfile.write(b"GGUF" + bytes(SIZE))

    server = web(answer)
    error, left = pull(tmp_path, "size=2m", server.url, stated="1")
    assert "No space left on device; free some space" in error
    assert server.requests == 1
    assert left == ".lock"


def test_a_disk_that_is_too_small_is_called_that_before_anything_is_fetched(index, web, tmp_path):
    server = web(lambda handler: handler.send_error(500))
    error, left = pull(tmp_path, "size=2m", server.url)
    assert "tiny.Q4_1.gguf needs 6.0 MB, and 2.1 MB are free: No space left on device; free some" in error
    assert server.requests == 0
    assert left == ".lock"


def test_a_read_only_disk_is_called_that(index, tmp_path):
    error, left = pull(tmp_path, "ro")
    assert error.endswith("Read-only file system; choose another store with --store")
    assert left == ""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("OSError: [Errno 28] No space left on device", True),
        ("ERROR: Could not install packages due to an OSError: [Errno 122] Disk quota exceeded", True),
        ("OSError: [Errno 30] Read-only file system: '/x'", True),
        ("ERROR: No matching distribution found for tiny-model==1.0", False),
        ("connection broken by 'NewConnectionError(\"[Errno 111] Connection refused\")'", False),
    ],
)
def test_the_disks_errors_are_told_from_those_of_the_network(line, found):
    assert (disk_error(["ERROR: Exception:", line]) is not None) is found
