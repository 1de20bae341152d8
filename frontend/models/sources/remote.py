"""Lists and opens what fsspec reaches: gs://, s3:// and others, each with a package of its own."""

import base64
import contextlib
import hashlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from frontend.models.errors import ModelError, SourceError
from frontend.models.sources.listing import Listed, Listing
from frontend.models.sources.retries import Transient
from frontend.models.sources.transfer import Digest, Expected, Opened
from frontend.shortened import shown_source, without_secrets

_PACKAGES = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "adl": "adlfs",
    "oss": "ossfs",
    "oci": "ocifs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
    "webhdfs": "requests",
    "hdfs": "pyarrow",
    "webdav": "webdav4",
}
_VALIDATORS = (
    *("etag", "ETag", "md5Hash", "generation", "version_id"),
    *("sha", "content_hash"),  # GitHub's and Dropbox's
    *("LastModified", "last_modified", "modificationTime", "modified", "mtime", "created"),
)
_BLOCK_BYTES = 8 * 1024 * 1024


def list_remote(url: str, filesystem: Any = None) -> Listing:
    """The file, or the files of the folder, that is there. Imports fsspec.

    Raises ModelError for a protocol that is unknown or that needs a package, SourceError, and Transient.
    """
    fs, path = (filesystem, url) if filesystem else _connected(url, url.partition("://")[0])
    with _explained(url):
        if fs.isfile(path):
            infos = {path.rstrip("/").rpartition("/")[2]: fs.info(path)}
        else:
            top = path.rstrip("/") + "/"
            found = fs.find(path, detail=True)
            infos = {name.removeprefix(top): info for name, info in found.items() if name.startswith(top)}
    if not infos:
        raise SourceError(f"nothing is at {shown_source(url)}; correct it")
    files = {name: _listed(fs, url, info) for name, info in infos.items()}
    states = "".join(f"{name} {file.size} {file.expected.identity}\n" for name, file in sorted(files.items()))
    return Listing(shown_source(url), hashlib.sha256(states.encode()).hexdigest(), files)


def _listed(fs: Any, url: str, info: dict[str, Any]) -> Listed:
    size = int(info.get("size") or 0)
    # What changes with the file; empty if the service states nothing like that.
    validator = next((f"{key} {info[key]}" for key in _VALIDATORS if info.get(key)), "")

    @contextmanager
    def open_at(offset: int, _: str) -> Iterator[Opened]:
        with _explained(url), fs.open(info["name"], "rb", block_size=_BLOCK_BYTES) as file:
            start = offset if offset < size else 0
            file.seek(start)
            yield Opened(file, start, size, validator)

    identity = f"{size} {validator}" if validator else ""
    return Listed(size, Expected(size, _md5(info), identity), open_at)


def _connected(url: str, scheme: str) -> tuple[Any, str]:
    # gcsfs would look for zonal buckets by gRPC, and wait a minute where only HTTP is reachable.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    from fsspec.core import url_to_fs
    from fsspec.registry import known_implementations

    if scheme not in known_implementations:
        known = "http(s)://, hf:, gs://, s3:// and whatever fsspec reaches"
        raise ModelError(f"unknown kind of source {scheme}://; it can be {known}")
    try:
        filesystem, path = url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(scheme, "")
        remedy = f"; install it with: {install_command(package)}" if package else f": {error}"
        raise ModelError(f"{scheme}:// needs {package or 'another package'}{remedy}") from error
    except ValueError as error:
        raise ModelError(
            f"{shown_source(url)} cannot be opened: {without_secrets(str(error), url)}"
        ) from error
    return filesystem, str(path)


def install_command(*requirements: str) -> str:
    """The command that installs packages beside this one, wherever that is."""
    return shlex.join([sys.executable, "-m", "pip", "install", *requirements])


def _md5(info: dict[str, Any]) -> Digest | None:
    """Google's; the ETags of S3 are MD5 sums of some objects only."""
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(str(info.get("md5Hash") or ""), validate=True)
        if len(raw) == 16:
            return Digest("md5", raw.hex())
    return None


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turns what the many libraries behind fsspec raise into Transient and SourceError."""
    shown = shown_source(url)

    def words(error: Exception) -> str:
        return without_secrets(str(error), url)

    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"nothing is at {shown}; correct it") from error
    except PermissionError as error:
        raise SourceError(
            f"{shown} may not be read: {words(error)}; set the credentials of its service"
        ) from error
    except (ModelError, Transient, KeyboardInterrupt):
        raise
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise  # the disk's
        raise Transient(f"the connection broke: {words(error) or type(error).__name__}") from error
    except Exception as error:
        name = type(error).__name__
        if "credential" in f"{name} {error}".lower():
            raise SourceError(f"no credentials for {shown}: {words(error)}") from error
        raise Transient(f"{name}: {words(error)}") from error
