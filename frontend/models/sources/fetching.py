"""Fetches the chosen files of a listing into a folder, where a killed or broken call is resumed."""

from collections.abc import Sequence
from pathlib import Path

from frontend.models.reporter import Progress, Reporter
from frontend.models.sources.listing import Listing
from frontend.models.sources.retries import Patience, Sleep, nap
from frontend.models.sources.room import check_room
from frontend.models.sources.transfer import received_bytes, transfer


def fetch_listing(
    listing: Listing,
    names: Sequence[str],
    folder: Path,
    reporter: Reporter,
    *,
    more_bytes: int = 0,
    sleep: Sleep = nap,
) -> dict[str, str]:
    """Write the files into the folder. Returns their SHA-256 by name.

    `more_bytes` is what will be written afterwards: there must be room for that, too. Raises SourceError, and
    OSError if they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(listing.files[name].size for name in names)
    there = sum(received_bytes(folder / name) for name in names)
    check_room(folder, total - there + more_bytes, listing.title)
    progress = Progress(reporter, total)
    digests = {}
    for name in names:
        file = listing.files[name]
        received = transfer(
            file.open, folder / name, file.expected, progress, Patience(sleep=sleep), reporter.note
        )
        digests[name] = received.sha256
        progress.before += file.size
    return digests
