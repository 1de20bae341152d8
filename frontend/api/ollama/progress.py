"""A download as the objects that Ollama writes while it pulls. Pure."""

import hashlib

import msgspec
from msgspec import UNSET, UnsetType

from frontend.downloads import Download
from frontend.errors import DownloadFailed

_SHOWN_DIGITS = 12


class Progress(msgspec.Struct, kw_only=True):
    status: str
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET  # bytes
    completed: int | UnsetType = UNSET  # bytes; Ollama leaves out 0


MANIFEST = Progress(status="pulling manifest")
SUCCESS = Progress(status="success")
_ENDING = [Progress(status="verifying sha256 digest"), Progress(status="writing manifest"), SUCCESS]


class ProgressLines:
    """The new objects after each change of a download. Clients show a bar per digest: one for each step."""

    def __init__(self) -> None:
        self._last = MANIFEST

    def after(self, download: Download) -> list[Progress]:
        """Raises DownloadFailed for a download that has ended without a model."""
        if download.state == "done":
            return _ENDING
        if download.state in ("failed", "cancelled", "paused"):
            raise DownloadFailed(download.error or f"the download was {download.state}")
        now = _progress(download)
        if now is None or now == self._last:
            return []
        self._last = now
        return [now]


def _progress(download: Download) -> Progress | None:
    if download.total_bytes is None:
        return Progress(status=download.step) if download.step else None
    digest = hashlib.sha256(f"{download.source}\n{download.step}".encode()).hexdigest()
    return Progress(
        status=f"pulling {digest[:_SHOWN_DIGITS]}",
        digest=f"sha256:{digest}",
        total=download.total_bytes,
        completed=download.done_bytes or UNSET,
    )
