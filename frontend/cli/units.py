"""Units in which sizes are shown."""

KILOBYTE = 1000
MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000


def shown_bytes(count: int) -> str:
    """1.2 GB, 134 MB or 12 kB."""
    if count >= GIGABYTE:
        return f"{count / GIGABYTE:.1f} GB"
    return f"{count / MEGABYTE:.0f} MB" if count >= MEGABYTE else f"{count / KILOBYTE:.0f} kB"
